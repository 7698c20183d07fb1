{{- define "weir.fullname" -}}
{{- default .Release.Name .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* Labels of everything made. Call with (dict "root" $ "component" "operator"). */}}
{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of pods: no version, so that an upgrade which changes nothing else restarts nothing. */}}
{{- define "weir.podLabels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/part-of: weir
{{- end -}}

{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "weir.image" -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end -}}

{{- define "weir.initImage" -}}
{{ printf "%s:%s" .Values.initImage.repository (default .Chart.AppVersion .Values.initImage.tag) }}
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

{{- define "weir.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "weir.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "weir.scheduling" -}}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Two operators of one namespace would each write into a status what the other does not see. A release that went without helm is none. */}}
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

{{/* Values that only together make sense: said before anything is rendered. */}}
{{- define "weir.check" -}}
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
