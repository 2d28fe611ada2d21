{% import "common.j2" as common %}
#!/bin/sh
# Cron jobs at cron-job.org, by its REST API. Run with sh, with two variables set:
#   CRON_JOB_ORG_KEY  an API key, from Settings in the console
#   {{ secret }}  a token of SMARTWORKER_CRON_TOKENS; it is stored at cron-job.org
# Each run of this script adds the jobs once more: delete the old ones in the console.
#
# What cron-job.org cannot do: it does not call again after a failure, gives up after 30
# seconds, and switches a job off that keeps failing (it writes an e-mail then). On the
# night when clocks go forward it leaves out a time that does not exist. The API takes 5
# new jobs a minute and 100 requests a day; the script waits when it is told to.
{{ common.notes(warnings, left_out) -}}
set -eu
: "${CRON_JOB_ORG_KEY:?set it to an API key of cron-job.org}"
: "${{ '{' ~ secret }}:?set it to a token of SMARTWORKER_CRON_TOKENS}"

add() {
  curl --fail-with-body --silent --show-error --max-time 60 --retry 5 --retry-delay 15 \
    --request PUT --header "Authorization: Bearer $CRON_JOB_ORG_KEY" \
    --header 'Content-Type: application/json' --data-binary @- \
    https://api.cron-job.org/jobs
  echo
}
{% macro job(title, target, method, zone, pattern, header) %}
{% set lists = pattern | lists %}
add <<JSON
{"job": {
  "title": {{ title | text }},
  "url": {{ target | text }},
  "enabled": true,
  "saveResponses": true,
  "requestMethod": {{ method }},
  "requestTimeout": 30,
{% if header %}
  "extendedData": {"headers": {"Authorization": "Bearer ${{ secret }}"}},
{% endif %}
  "notification": {"onFailure": {{ "true" if header else "false" }}, "onDisable": true},
  "schedule": {
    "timezone": {{ zone | text }},
    "expiresAt": 0,
    "minutes": {{ lists.minutes }},
    "hours": {{ lists.hours }},
    "mdays": {{ lists.mdays }},
    "months": {{ lists.months }},
    "wdays": {{ lists.wdays }}
  }
}}
JSON
{% endmacro %}
{% for entry in entries %}

{{ common.head(entry) }}
{% for pattern in entry.triggers %}
{{ job(entry.job.name, entry.url, 1, entry.zone, pattern, true) -}}
{% endfor %}
{% endfor %}
{% for name, zone, pattern in warm %}

# A web service that sleeps is woken ahead of the jobs.
{{ job(name, url ~ "/livez", 0, zone, pattern, false) -}}
{% endfor %}
