{{/* Labels of everything. Call with (dict "root" $ "component" "operator"). */}}
{{- define "orion.labels" -}}
{{ include "orion.selector" . }}
app.kubernetes.io/part-of: orion
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{/* Labels that select pods: they never change over upgrades. */}}
{{- define "orion.selector" -}}
app.kubernetes.io/name: orion
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .provider }}
orion.dev/provider: {{ . }}
{{- end }}
{{- with .witness }}
orion.dev/witness: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of pods: what selects them, and what the network policies select. */}}
{{- define "orion.podLabels" -}}
{{ include "orion.selector" . }}
app.kubernetes.io/part-of: orion
{{- end }}

{{- define "orion.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "orion.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where pods run, and with which pull secrets. */}}
{{- define "orion.placement" -}}
{{- $lines := list }}
{{- with .Values.imagePullSecrets }}{{ $lines = append $lines (printf "imagePullSecrets: %s" (toJson .)) }}{{ end }}
{{- with .Values.nodeSelector }}{{ $lines = append $lines (printf "nodeSelector: %s" (toJson .)) }}{{ end }}
{{- with .Values.tolerations }}{{ $lines = append $lines (printf "tolerations: %s" (toJson .)) }}{{ end }}
{{- join "\n" $lines }}
{{- end }}

{{/* Replicas rather on different nodes. Call like orion.selector. */}}
{{- define "orion.spread" -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            {{- include "orion.selector" . | nindent 12 }}
{{- end }}

{{/* Probes of our own programs, on a port named http. */}}
{{- define "orion.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 1
  failureThreshold: 120
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: 2
  timeoutSeconds: 5
{{- end }}

{{- define "orion.image" -}}
image: {{ .image.ref | quote }}
imagePullPolicy: {{ .root.Values.imagePullPolicy }}
{{- end }}

{{/* The demo's providers as the key job wants them: alpha=ann,beta=bob. */}}
{{- define "orion.demoProviders" -}}
{{- $pairs := list }}
{{- range .Values.demoProviders }}
{{- $pairs = append $pairs (printf "%s=%s" .name .owner) }}
{{- end }}
{{- join "," $pairs }}
{{- end }}

{{- define "orion.storage" -}}
accessModes: [ReadWriteOnce]
{{- with .className }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end }}

{{/* The demo's credits as text, whether they were given as text or as a number; empty when there is nothing to deposit. */}}
{{- define "orion.credits" -}}
{{- $credits := .Values.demo.credits }}
{{- if not (kindIs "string" $credits) }}{{ $credits = $credits | int64 | toString }}{{ end }}
{{- if not (regexMatch "^0+(\\.0+)?$" $credits) }}{{ $credits }}{{ end }}
{{- end }}

{{/* Not empty where somebody is asked to witness the log. */}}
{{- define "orion.witnessed" -}}
{{- if or .Values.witnesses .Values.demoWitnesses }}true{{ end }}
{{- end }}

{{/* Where a program finds the token that the ledger lets it in for. */}}
{{- define "orion.ledgerTokenVolume" -}}
name: ledger-token
secret: {secretName: orion-ledger-token-submit, defaultMode: 0440}
{{- end }}
