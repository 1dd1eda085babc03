{{- define "isotherm.fullname" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "isotherm.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "isotherm.labels" -}}
{{ include "isotherm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "isotherm.secretName" -}}
{{ .Values.existingSecret | default (printf "%s-secrets" (include "isotherm.fullname" .)) }}
{{- end }}

{{/* Refuses what would stand open, or could not start. */}}
{{- define "isotherm.check" -}}
{{- if not .Values.existingSecret }}
  {{- if not .Values.token }}
    {{- fail "token is empty, and the app is open to the network: set `token` to a long random text (openssl rand -hex 32), or name a Secret with the key ISOTHERM_TOKEN in `existingSecret`" }}
  {{- end }}
  {{- if not .Values.stores.db }}
    {{- fail "stores.db is empty: set `stores.db` to postgresql://user:password@host:5432/database, or name a Secret with the key ISOTHERM_DB in `existingSecret`" }}
  {{- end }}
{{- end }}
{{- if not (or .Values.stores.cache .Values.existingSecret) }}
  {{- fail "stores.cache is empty: the live windows that one pod counts are read by others, so they need a Redis; set it to redis://:password@host:6379/0" }}
{{- end }}
{{- if not .Values.clients }}
  {{- fail "clients is empty, and the collector is open to the network: list the client ids that may send" }}
{{- end }}
{{- range $name, $like := dict "log" "kafka://host:9092?topic=heatmap.events.raw" "lake" "s3://bucket/prefix?region=eu-central-1" "olap" "clickhouse://user@host:8123/database" }}
  {{- if not (get $.Values.stores $name) }}
    {{- fail (printf "stores.%s is empty: pods share no disk, so every store is a server; set it to something like %s" $name $like) }}
  {{- end }}
{{- end }}
{{- if hasPrefix "spark://" .Values.stores.engine }}
  {{- if not (or .Values.existingSecret (get .Values.sparkOptions "spark.cores.max")) }}
    {{- fail "sparkOptions has no spark.cores.max: each rollup pod starts a driver of its own, and a serve pod does for POST /v1/admin/rollup; the first would take all cores of the cluster, and the jobs of the others would fail. Set it to a share of the cores that leaves enough for the others" }}
  {{- end }}
  {{- if and .Values.networkPolicy.enabled (not .Values.rollup.ingress) }}
    {{- fail "rollup.ingress is empty while networkPolicy.enabled is true: Spark's executors could not reach the driver; allow them in, such as {ports: [{port: 7078}, {port: 7079}], from: [{podSelector: {matchLabels: {app: spark}}}]} with spark.driver.port and spark.blockManager.port set to these in sparkOptions" }}
  {{- end }}
{{- end }}
{{- range $name, $_ := .Values.settings }}
  {{- if has $name (list "token" "scan" "log" "lake" "olap" "db" "cache" "engine" "stream" "kafka_options" "spark_options" "s3_access_key_id" "s3_secret_access_key" "s3_session_token" "clickhouse_password") }}
    {{- fail (printf "settings.%s has a place of its own in the values (`stores`, `token`, ...) or belongs into `existingSecret`: the settings here stand in a ConfigMap for all to read" $name) }}
  {{- end }}
{{- end }}
{{- range $role, $way := dict "collect" .Values.ingress.collect "serve" .Values.ingress.serve }}
  {{- if and $way.enabled (not $way.host) }}
    {{- fail (printf "ingress.%s.host is empty: name the host under which it is asked" $role) }}
  {{- end }}
{{- end }}
{{- end }}

{{/* Secrets by the role that needs them: a pod does not hold what it has no use for. */}}
{{- define "isotherm.secretKeys" -}}
{{- $keys := list "TOKEN" "CACHE" "KAFKA_OPTIONS" -}}
{{- if ne . "collect" -}}
{{- $keys = concat $keys (list "DB" "S3_ACCESS_KEY_ID" "S3_SECRET_ACCESS_KEY" "S3_SESSION_TOKEN") -}}
{{- end -}}
{{- if has . (list "rollup" "serve" "stream" "land") -}}
{{- $keys = append $keys "CLICKHOUSE_PASSWORD" -}}
{{- end -}}
{{- if has . (list "rollup" "serve") -}}
{{- $keys = append $keys "SPARK_OPTIONS" -}}
{{- end -}}
{{ toJson $keys }}
{{- end }}

{{/* Port on which a role answers probes: its own, or the health port. */}}
{{- define "isotherm.port" -}}
{{- get (dict "collect" "7081" "serve" "7080") . | default "7082" -}}
{{- end }}

{{- define "isotherm.portName" -}}
{{- ternary "http" "health" (has . (list "collect" "serve")) -}}
{{- end }}
