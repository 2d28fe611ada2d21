{% import "common.j2" as common %}
#!/bin/sh
# Cron jobs in Google Cloud Scheduler. Run with sh where gcloud is logged in and has a
# project, with one variable set:
#   {{ secret }}  a token of SMARTWORKER_CRON_TOKENS; it is stored in the jobs
# GOOGLE_LOCATION chooses another region. A job that is there already is replaced.
#
# What Cloud Scheduler cannot do: it follows the wall clock, so a time that a clock
# change repeats may be called twice (the second call is answered with `skipped` if the
# job is only_when_due), and one that does not exist is left out. Three jobs of an
# account are free, each other one is billed by the month.
{{ common.notes(warnings, left_out) -}}
set -eu
: "${{ '{' ~ secret }}:?set it to a token of SMARTWORKER_CRON_TOKENS}"
location=${GOOGLE_LOCATION:-us-central1}

schedule() {
  name=$1
  shift
  gcloud scheduler jobs delete "$name" --location="$location" --quiet 2>/dev/null || true
  gcloud scheduler jobs create http "$name" --location="$location" "$@" \
    --attempt-deadline=60s --min-backoff=10s --max-backoff=120s
}
{% for entry in entries %}

{{ common.head(entry) }}
{% for pattern in entry.triggers %}
schedule {{ "smartworker-" ~ entry.job.name ~ ("" if loop.first else "-" ~ loop.index) }} \
  --schedule={{ pattern.expression | sh }} --time-zone={{ entry.zone | sh }} \
  --uri={{ entry.url | sh }} --http-method=POST --max-retry-attempts=5 \
  --headers="Authorization=Bearer ${{ secret }}"
{% endfor %}
{% endfor %}
{% for name, zone, pattern in warm %}

# A web service that sleeps is woken ahead of the jobs.
schedule smartworker-{{ name }} \
  --schedule={{ pattern.expression | sh }} --time-zone={{ zone | sh }} \
  --uri={{ (url ~ "/livez") | sh }} --http-method=GET --max-retry-attempts=1
{% endfor %}
