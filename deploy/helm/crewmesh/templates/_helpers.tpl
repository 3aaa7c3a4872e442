{{/* Names, labels and what all pods have in common. Each takes (dict "root" $ "part" "store"). */}}

{{- define "crewmesh.fullname" -}}
{{- if contains "crewmesh" .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-crewmesh" .Release.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "crewmesh.name" -}}
{{ include "crewmesh.fullname" .root }}-{{ .part }}
{{- end }}

{{- define "crewmesh.selector" -}}
app.kubernetes.io/name: crewmesh
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "crewmesh.labels" -}}
{{ include "crewmesh.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "crewmesh.image" -}}
{{- $image := .root.Values.image -}}
{{ $image.registry }}/{{ .part }}{{ if .values.digest }}@{{ .values.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "crewmesh.podMetadata" -}}
labels:
  {{- include "crewmesh.labels" . | nindent 2 }}
{{- with .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every pod's spec begins with. */}}
{{- define "crewmesh.podSpec" -}}
serviceAccountName: {{ include "crewmesh.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "crewmesh.selector" $ | nindent 8 }}
  {{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container begins with. */}}
{{- define "crewmesh.container" -}}
name: {{ .part }}
image: {{ include "crewmesh.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
resources:
  {{- toYaml .values.resources | nindent 2 }}
{{- end }}

{{/* A volume with the named keys of the chart's Secret, and nothing else of it. */}}
{{- define "crewmesh.secretVolume" -}}
name: secrets
secret:
  secretName: {{ .root.Values.secret.name }}
  defaultMode: 0440
  items:
    {{- range .keys }}
    - key: {{ get $.root.Values.secret.keys . }}
      path: {{ kebabcase . }}
    {{- end }}
{{- end }}

{{/* Mutual TLS: what a service is told, and where its certificate is. */}}
{{- define "crewmesh.tlsEnv" -}}
{{- if .root.Values.tls.enabled -}}
- {name: CREWMESH_TLS_DIR, value: /run/secrets/tls}
{{- else -}}
- {name: CREWMESH_INSECURE_PLAINTEXT, value: "true"}
{{- end }}
{{- end }}

{{- define "crewmesh.tlsMount" -}}
{{- if .root.Values.tls.enabled -}}
- {name: tls, mountPath: /run/secrets/tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "crewmesh.tlsVolume" -}}
{{- if .root.Values.tls.enabled -}}
- name: tls
  secret:
    secretName: {{ get .root.Values.tls.secretNames .part }}
    defaultMode: 0440
    items:
      {{- range $name, $key := .root.Values.tls.keys }}
      - {key: {{ $key }}, path: {{ $name }}.pem}
      {{- end }}
{{- end }}
{{- end }}

{{/* Ready is who says so by gRPC's health service; Kubernetes itself asks in plain text only. */}}
{{- define "crewmesh.grpcReadiness" -}}
{{- if .root.Values.tls.enabled -}}
exec: {command: [python, -m, crewmesh.common.healthcheck, "127.0.0.1:{{ .port }}"]}
periodSeconds: 10
timeoutSeconds: 8
{{- else -}}
grpc: {port: {{ .port }}}
periodSeconds: 5
timeoutSeconds: 4
{{- end }}
{{- end }}

{{- define "crewmesh.targets" -}}
- name: CREWMESH_STORE_TARGET
  value: dns:///{{ include "crewmesh.name" (dict "root" . "part" "store") }}:8082
- name: CREWMESH_MESH_SECRET_FILE
  value: /run/secrets/crewmesh/mesh-secret
- name: CREWMESH_LOG_LEVEL
  value: {{ .Values.logLevel }}
{{- include "crewmesh.otlp" . }}
{{- end }}

{{- define "crewmesh.keda" -}}
{{- if eq .Values.agentWorker.autoscaling.type "keda" }}true{{ end }}
{{- end }}

{{- define "crewmesh.dnsEgress" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{- define "crewmesh.otlp" -}}
{{- with .Values.observability.otlpEndpoint }}
- {name: CREWMESH_OTLP_ENDPOINT, value: {{ . | quote }}}
{{- end }}
{{- end }}

{{/* Lets the part's traces out, to whatever address the endpoint has. */}}
{{- define "crewmesh.otlpEgress" -}}
{{- with .Values.observability.otlpEndpoint }}
{{- $url := urlParse . }}
- ports: [{port: {{ regexFind "[0-9]+$" (regexFind ":[0-9]+$" $url.host) | default (ternary "443" "80" (eq $url.scheme "https")) }}}]
  to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ $.Values.networkPolicy.monitoringNamespace }}
{{- end }}
{{- end }}

{{- define "crewmesh.metricsIngress" -}}
- ports: [{port: 9464}]
  from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ .Values.networkPolicy.monitoringNamespace }}
{{- end }}
