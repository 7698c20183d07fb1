{{/*
Values that were added after 0.2.0 get their defaults here: `helm upgrade --reuse-values` brings the values of the older release
alone. Every template calls this first.
*/}}
{{- define "weir.values" -}}
{{- range $path, $default := .Files.Get "files/added-values.yaml" | fromYaml -}}
{{- $at := $.Values -}}
{{- range initial (splitList "." $path) -}}
{{- if not (kindIs "map" (get $at .)) }}{{ $_ := set $at . dict }}{{ end -}}
{{- $at = get $at . -}}
{{- end -}}
{{- $key := last (splitList "." $path) -}}
{{- if kindIs "invalid" (index $at $key) }}{{ $_ := set $at $key $default }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "weir.name" -}}
{{- default "weir" .Values.nameOverride -}}
{{- end -}}

{{- define "weir.fullname" -}}
{{- $name := .Release.Name -}}
{{- if and .Values.nameOverride (not (contains .Values.nameOverride .Release.Name)) -}}
{{- $name = printf "%s-%s" .Release.Name .Values.nameOverride -}}
{{- end -}}
{{- default $name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of every object. Call with (dict "root" $ "component" "operator"). */}}
{{- define "weir.labels" -}}
{{- $own := include "weir.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "weir" -}}
{{- $_ := set $own "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- $_ := set $own "app.kubernetes.io/version" .root.Chart.AppVersion -}}
{{- $_ := set $own "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_") -}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) $own | toYaml -}}
{{- end -}}

{{/* Labels of pods, "extra" included: no version, so that an upgrade which changes nothing else restarts nothing. */}}
{{- define "weir.podLabels" -}}
{{- $own := include "weir.selector" . | fromYaml -}}
{{- $_ := set $own "app.kubernetes.io/part-of" "weir" -}}
{{- mergeOverwrite (deepCopy .root.Values.commonLabels) (default dict .extra) $own | toYaml -}}
{{- end -}}

{{- define "weir.selector" -}}
app.kubernetes.io/name: {{ include "weir.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* A reference of an image. Call with (dict "root" $ "image" .Values.image "fallback" "tag"). */}}
{{- define "weir.imageOf" -}}
{{- $registry := default .image.registry .root.Values.global.imageRegistry | trimSuffix "/" -}}
{{- with $registry }}{{ . }}/{{ end -}}
{{- .image.repository -}}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .fallback .image.tag }}{{ end -}}
{{- end -}}

{{- define "weir.image" -}}
{{ include "weir.imageOf" (dict "root" . "image" .Values.image "fallback" .Chart.AppVersion) }}
{{- end -}}

{{- define "weir.initImage" -}}
{{ include "weir.imageOf" (dict "root" . "image" .Values.initImage "fallback" .Chart.AppVersion) }}
{{- end -}}

{{/* imagePullSecrets of a pod, or nothing. */}}
{{- define "weir.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat .Values.global.imagePullSecrets .Values.imagePullSecrets -}}
{{- $secrets = append $secrets (kindIs "string" . | ternary (dict "name" .) .) -}}
{{- end -}}
{{- with uniq $secrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The account of a component. Call with (dict "root" $ "component" "operator" "settings" .Values.operator). */}}
{{- define "weir.serviceAccountName" -}}
{{- default (printf "%s-%s" (include "weir.fullname" .root) .component) .settings.serviceAccount.name -}}
{{- end -}}

{{- define "weir.operatorAccount" -}}
{{- include "weir.serviceAccountName" (dict "root" . "component" "operator" "settings" .Values.operator) -}}
{{- end -}}

{{/* By which name limiters dial the operator. */}}
{{- define "weir.operatorHost" -}}
{{ printf "%s-operator.%s.svc" (include "weir.fullname" .) .Release.Namespace }}
{{- end -}}

{{/* Names in the operator's certificate, as a YAML list. */}}
{{- define "weir.certificateNames" -}}
{{- $services := list (printf "%s-operator" (include "weir.fullname" .)) (printf "%s-webhook" (include "weir.fullname" .)) -}}
{{- range $services }}
- {{ printf "%s.%s.svc" . $.Release.Namespace }}
{{- if $.Values.clusterDomain }}
- {{ printf "%s.%s.svc.%s" . $.Release.Namespace $.Values.clusterDomain }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Where the pods of a component run. Call with (dict "root" $ "component" "operator" "settings" .Values.operator). */}}
{{- define "weir.scheduling" -}}
{{- with .settings.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .settings.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- if .settings.topologySpreadConstraints }}
{{- $own := dict "matchLabels" (include "weir.selector" . | fromYaml) }}
topologySpreadConstraints:
  {{- range .settings.topologySpreadConstraints }}
  - {{- merge (deepCopy .) (dict "labelSelector" $own) | toYaml | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Scheduling of Jobs: that of the operator, without its spreading. */}}
{{- define "weir.jobScheduling" -}}
{{- include "weir.scheduling" (dict "root" . "component" "job" "settings" (omit .Values.operator "topologySpreadConstraints")) -}}
{{- end -}}

{{/* Files of the trial Redis; its pod carries their checksum. */}}
{{- define "weir.redisConfig" -}}
redis.conf: |
  bind * -::*
  port 6379
  save ""
  appendonly no
  dir /data
  aclfile /data/users.acl
  maxmemory {{ .Values.redis.maxMemory }}
  maxmemory-policy noeviction
{{- range $path, $_ := .Files.Glob "files/redis/*.sh" }}
{{ base $path }}: |
  {{- $.Files.Get $path | trim | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The injection config; the operator's pods carry its checksum. */}}
{{- define "weir.injection" -}}
{{- $sidecar := .Values.injector.sidecar -}}
image: {{ include "weir.image" . | quote }}
initImage: {{ include "weir.initImage" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
operator: {{ include "weir.operatorHost" . }}:18000
logLevel: {{ $sidecar.logLevel }}
drainSeconds: {{ $sidecar.drainSeconds }}
{{- with $sidecar.storeDeadline }}
storeDeadline: {{ . }}
{{- end }}
{{- with include "weir.bounds" $sidecar.bounds | fromYaml }}
bounds: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $sidecar.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.injector.excludedNamespaces }}
excludedNamespaces: {{- toYaml . | nindent 2 }}
{{- end }}
resources: {{- toYaml $sidecar.resources | nindent 2 }}
{{- end -}}

{{/* The bounds that are set. */}}
{{- define "weir.bounds" -}}
{{- range $name, $value := . }}
{{- if ne (toString $value) "" }}
{{ $name }}: {{ toString $value | quote }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Bytes of a size such as 32Mi. */}}
{{- define "weir.bytes" -}}
{{- $unit := dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "" 1 -}}
{{- mul (regexFind "^[0-9]+" (toString .) | int64) (get $unit (regexFind "[KMG]i" (toString .))) -}}
{{- end -}}

{{/* A limiter with a budget for fewer than three bodies would not start. Call with (dict "of" "sharedLimiter.bounds" "bounds" …). */}}
{{- define "weir.checkBounds" -}}
{{- $body := default "16Mi" .bounds.maxBody -}}
{{- if .bounds.bodyBudget -}}
{{- if lt (include "weir.bytes" .bounds.bodyBudget | int64) (mul 3 (include "weir.bytes" $body | int64)) -}}
{{- fail (printf "%s.bodyBudget: %s is less than three times maxBody (%s): raise it, or leave it empty" .of (toString .bounds.bodyBudget) (toString $body)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The flags of `weir limiter` for the bounds that are set. */}}
{{- define "weir.boundFlags" -}}
{{- range $name, $value := include "weir.bounds" . | fromYaml }}
- --{{ kebabcase $name }}={{ $value }}
{{- end }}
{{- end -}}

{{/* Two operators of one namespace would overwrite each other's statuses. A release whose Deployment is gone does not count. */}}
{{- define "weir.alone" -}}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRole" "" "").items -}}
{{- $labels := default dict .metadata.labels -}}
{{- $notes := default dict .metadata.annotations -}}
{{- $name := get $notes "meta.helm.sh/release-name" -}}
{{- $namespace := get $notes "meta.helm.sh/release-namespace" -}}
{{- $isOperator := and (eq (get $labels "app.kubernetes.io/part-of") "weir") (eq (get $labels "app.kubernetes.io/component") "operator") -}}
{{- $isOther := and $namespace (or (ne $name $.Release.Name) (ne $namespace $.Release.Namespace)) -}}
{{- if and $isOperator $isOther -}}
{{- with lookup "apps/v1" "Deployment" $namespace .metadata.name -}}
{{- $theirs := list -}}
{{- range (first .spec.template.spec.containers).args -}}
{{- if hasPrefix "--namespace=" . -}}{{- $theirs = splitList "," (trimPrefix "--namespace=" .) -}}{{- end -}}
{{- end -}}
{{- $isApart := and $theirs $.Values.watchNamespaces -}}
{{- range $.Values.watchNamespaces -}}{{- if has . $theirs -}}{{- $isApart = false -}}{{- end -}}{{- end -}}
{{- if not $isApart -}}
{{- fail (printf "Weir serves %s already: release %s in the namespace %s. Use helm upgrade %s -n %s, or helm uninstall it first, or give each release its own watchNamespaces" (ternary (join ", " $theirs) "this cluster" (gt (len $theirs) 0)) $name $namespace $name $namespace) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods or mark what belongs to Weir. Call with (dict "of" "commonLabels" "labels" .Values.commonLabels). */}}
{{- define "weir.checkLabels" -}}
{{- $reserved := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/part-of" "app.kubernetes.io/managed-by" "app.kubernetes.io/version" "helm.sh/chart" -}}
{{- range $label, $_ := .labels -}}
{{- if or (has $label $reserved) (hasPrefix "weir.dev/" $label) -}}
{{- fail (printf "%s: the label %s is set by the chart: remove it" $.of $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Values that do not fit together are rejected before anything is rendered. */}}
{{- define "weir.check" -}}
{{- include "weir.checkLabels" (dict "of" "commonLabels" "labels" .Values.commonLabels) -}}
{{- range $of, $settings := dict "operator" .Values.operator "sharedLimiter" .Values.sharedLimiter "redis" .Values.redis "jobs" .Values.jobs -}}
{{- include "weir.checkLabels" (dict "of" (printf "%s.podLabels" $of) "labels" $settings.podLabels) -}}
{{- end -}}
{{- range $of, $settings := dict "operator" .Values.operator "sharedLimiter" .Values.sharedLimiter -}}
{{- if not (or $settings.serviceAccount.create $settings.serviceAccount.name) -}}
{{- fail (printf "%s.serviceAccount.name: with create=false, name an account that exists" $of) -}}
{{- end -}}
{{- end -}}
{{- include "weir.checkBounds" (dict "of" "injector.sidecar.bounds" "bounds" .Values.injector.sidecar.bounds) -}}
{{- include "weir.checkBounds" (dict "of" "sharedLimiter.bounds" "bounds" .Values.sharedLimiter.bounds) -}}
{{- if and .Values.redis.existingSecret (not .Values.redis.enabled) -}}
{{- fail "redis.existingSecret: is the password of the trial Redis: with redis.enabled=false set defaultRedis.passwordSecret.name" -}}
{{- end -}}
{{- if and .Values.redis.enabled .Values.defaultRedis.address -}}
{{- fail "defaultRedis.address: there is one default Redis: set redis.enabled=false to use your own" -}}
{{- end -}}
{{- if and .Values.defaultRedis.caSecret.name (not .Values.defaultRedis.address) -}}
{{- fail "defaultRedis.caSecret.name: needs defaultRedis.address, and redis.enabled=false" -}}
{{- end -}}
{{- if and .Values.defaultRedis.passwordSecret.name (not .Values.defaultRedis.address) -}}
{{- fail "defaultRedis.passwordSecret.name: needs defaultRedis.address, and redis.enabled=false" -}}
{{- end -}}
{{- if and .Values.defaultRedis.acl (not .Values.defaultRedis.passwordSecret.name) -}}
{{- fail "defaultRedis.acl: needs the password of a user that may make users: set defaultRedis.passwordSecret.name" -}}
{{- end -}}
{{- if and (or .Values.redis.enabled .Values.defaultRedis.acl) .Values.defaultRedis.namespaces -}}
{{- fail "defaultRedis.namespaces: with defaultRedis.acl, and with the trial Redis, every namespace has a user of its own: leave it empty" -}}
{{- end -}}
{{- if and .Values.certificates.certManager.enabled (not .Values.certificates.certManager.issuerRef.name) -}}
{{- fail "certificates.certManager.issuerRef.name: name the Issuer or ClusterIssuer that signs" -}}
{{- end -}}
{{- if gt (int .Values.sharedLimiter.autoscaling.minReplicas) (int .Values.sharedLimiter.autoscaling.maxReplicas) -}}
{{- fail "sharedLimiter.autoscaling.minReplicas: at most sharedLimiter.autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .Values.operator.podDisruptionBudget.enabled (gt (int .Values.operator.replicas) 1) (ge (int .Values.operator.podDisruptionBudget.minAvailable) (int .Values.operator.replicas)) -}}
{{- fail "operator.podDisruptionBudget.minAvailable: less than operator.replicas, or no node can ever be drained" -}}
{{- end -}}
{{- end -}}
