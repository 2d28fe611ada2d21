{% import "common.j2" as common %}
#!/bin/sh
# Cron jobs at Upstash QStash. Run with sh, with two variables set:
#   QSTASH_TOKEN  from the QStash page of the Upstash console
#   {{ secret }}  a token of SMARTWORKER_CRON_TOKENS; it is stored at QStash
# QSTASH_URL chooses another region. Running it again replaces the schedules.
#
# QStash signs its calls: with QSTASH_CURRENT_SIGNING_KEY and QSTASH_NEXT_SIGNING_KEY on
# the web service you can leave the Upstash-Forward-Authorization lines out.
# What QStash cannot do: each call is a message of your plan, and so is each repetition
# after a failure; a new schedule takes up to a minute until it is known everywhere.
{{ common.notes(warnings, left_out) -}}
set -eu
: "${QSTASH_TOKEN:?set it to the token of the QStash console}"
: "${{ '{' ~ secret }}:?set it to a token of SMARTWORKER_CRON_TOKENS}"

schedule() {
  url=$1
  shift
  curl --fail-with-body --silent --show-error --max-time 60 --retry 5 --request POST \
    --header "Authorization: Bearer $QSTASH_TOKEN" "$@" \
    "${QSTASH_URL:-https://qstash.upstash.io}/v2/schedules/$url"
  echo
}
{% macro cron(zone, pattern) %}
{{ ("Upstash-Cron: " ~ ("" if zone == "UTC" else "CRON_TZ=" ~ zone ~ " ") ~ pattern.expression) | sh }}
{%- endmacro %}
{% for entry in entries %}

{{ common.head(entry) }}
{% for pattern in entry.triggers %}
schedule {{ entry.url | sh }} \
  --header {{ ("Upstash-Schedule-Id: smartworker-" ~ entry.job.name ~ ("" if loop.first else "-" ~ loop.index)) | sh }} \
  --header {{ cron(entry.zone, pattern) }} \
  --header 'Upstash-Method: POST' \
  --header 'Upstash-Retries: 3' \
  --header "Upstash-Forward-Authorization: Bearer ${{ secret }}"
{% endfor %}
{% endfor %}
{% for name, zone, pattern in warm %}

# A web service that sleeps is woken ahead of the jobs.
schedule {{ (url ~ "/livez") | sh }} \
  --header 'Upstash-Schedule-Id: smartworker-{{ name }}' \
  --header {{ cron(zone, pattern) }} \
  --header 'Upstash-Method: GET' \
  --header 'Upstash-Retries: 1'
{% endfor %}
