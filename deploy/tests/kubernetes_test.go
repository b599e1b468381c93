package tests

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"

	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// manifests are what kustomize makes of deploy/kubernetes.
type manifests struct {
	namespace core.Namespace
	conf      core.ConfigMap
	users     core.Secret
	operator  core.Secret
	service   core.Service
	nodes     apps.StatefulSet
	budget    policy.PodDisruptionBudget
	doctor    batch.CronJob
	alerts    monitoring.PrometheusRule
}

// built decodes what kustomize makes, and fails for a field that Kubernetes does
// not know.
func built(t *testing.T) (m manifests) {
	t.Helper()
	resources, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(withSecrets(t), "kubernetes"))
	if err != nil {
		t.Fatal(err)
	}
	into := map[string]any{
		"Namespace/redlock": &m.namespace, "ConfigMap/redlock-node": &m.conf, "Secret/redlock-users": &m.users,
		"Secret/redlock-operator": &m.operator, "Service/redlock-nodes": &m.service, "StatefulSet/redlock-node": &m.nodes,
		"PodDisruptionBudget/redlock-node": &m.budget, "CronJob/redlock-doctor": &m.doctor, "PrometheusRule/redlock": &m.alerts,
	}
	hash := regexp.MustCompile(`-[a-z0-9]{10}$`)
	for _, r := range resources.Resources() {
		name := r.GetKind() + "/" + r.GetName()
		if kind := r.GetKind(); kind == "ConfigMap" || kind == "Secret" {
			name = hash.ReplaceAllString(name, "")
		}
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if into[name] == nil {
			t.Errorf("kustomize makes %s, which nothing tests, or makes it twice", name)
			continue
		}
		if err := yaml.UnmarshalStrict(text, into[name]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if r.GetKind() != "Namespace" && r.GetNamespace() != "redlock" {
			t.Errorf("%s is in the namespace %q", name, r.GetNamespace())
		}
		delete(into, name)
	}
	for name := range into {
		t.Errorf("kustomize does not make %s", name)
	}
	return m
}

func TestKubernetes_NodesAreIndependentAndSpread(t *testing.T) {
	m := built(t)
	spec := m.nodes.Spec
	if spec.Replicas == nil || *spec.Replicas != 5 {
		t.Errorf("there are %v nodes", spec.Replicas)
	}
	if spec.PodManagementPolicy != apps.ParallelPodManagement {
		t.Error("a node that does not start keeps those behind it from starting")
	}
	if m.budget.Spec.MaxUnavailable == nil || m.budget.Spec.MaxUnavailable.IntValue() != 1 {
		t.Errorf("a drain may take %v nodes at once", m.budget.Spec.MaxUnavailable)
	}
	pods := labels.Set(spec.Template.Labels)
	for of, selector := range map[string]*meta.LabelSelector{
		"the set": spec.Selector, "the budget": m.budget.Spec.Selector,
		"the spread":       spec.Template.Spec.TopologySpreadConstraints[0].LabelSelector,
		"the affinity":     spec.Template.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].LabelSelector,
		"the headless one": {MatchLabels: m.service.Spec.Selector},
	} {
		s, err := meta.LabelSelectorAsSelector(selector)
		if err != nil || s.Empty() || !s.Matches(pods) {
			t.Errorf("the selector of %s, %v, does not match the nodes (%v)", of, s, err)
		}
	}
	spread := spec.Template.Spec.TopologySpreadConstraints[0]
	if spread.TopologyKey != core.LabelTopologyZone || spread.MaxSkew != 1 || spread.WhenUnsatisfiable != core.DoNotSchedule ||
		spread.MinDomains == nil || *spread.MinDomains < 3 {
		t.Errorf("the loss of a zone can take a quorum: %+v", spread)
	}
	if key := spec.Template.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution[0].TopologyKey; key != core.LabelHostname {
		t.Errorf("nodes are kept apart by %s", key)
	}
	if m.service.Spec.ClusterIP != core.ClusterIPNone || spec.ServiceName != m.service.Name || !m.service.Spec.PublishNotReadyAddresses {
		t.Errorf("nodes have no names of their own: %+v", m.service.Spec)
	}
}

func TestKubernetes_NodesReadTheirConfiguration(t *testing.T) {
	m := built(t)
	pod := m.nodes.Spec.Template.Spec
	node := pod.Containers[0]
	if len(m.nodes.Spec.VolumeClaimTemplates) != 1 || m.nodes.Spec.VolumeClaimTemplates[0].Name != "data" {
		t.Fatalf("nodes keep their data in %+v", m.nodes.Spec.VolumeClaimTemplates)
	}
	mounts := map[string]string{}
	for _, mount := range node.VolumeMounts {
		mounts[mount.Name] = mount.MountPath
	}
	if mounts["data"] != "/data" || mounts["configuration"] != filepath.Dir(confPath) || filepath.Dir(usersPath) != filepath.Dir(confPath) {
		t.Errorf("nodes have %v", mounts)
	}
	sources := pod.Volumes[0].Projected.Sources
	if sources[0].ConfigMap.Name != m.conf.Name || sources[1].Secret.Name != m.users.Name {
		t.Errorf("nodes read %s and %s, kustomize makes %s and %s", sources[0].ConfigMap.Name, sources[1].Secret.Name, m.conf.Name, m.users.Name)
	}
	if m.conf.Data["valkey.conf"] != read(t, "node", "valkey.conf") || len(m.users.Data["users.acl"]) == 0 {
		t.Error("the configuration, or the users, are not in it")
	}
	for of, probe := range map[string]*core.Probe{"startup": node.StartupProbe, "readiness": node.ReadinessProbe, "liveness": node.LivenessProbe} {
		if probe == nil || probe.Exec == nil || !strings.Contains(strings.Join(probe.Exec.Command, " "), "--user health") {
			t.Errorf("the %s probe is %+v", of, probe)
		}
	}
	// A slow node is its clients' to judge; restarting it costs more.
	if l := node.LivenessProbe; time.Duration(l.PeriodSeconds*l.FailureThreshold)*time.Second < time.Minute {
		t.Errorf("a node that is slow for %d s is restarted", l.PeriodSeconds*l.FailureThreshold)
	}
}

func TestKubernetes_DoctorKnowsAllNodes(t *testing.T) {
	m := built(t)
	pod := m.doctor.Spec.JobTemplate.Spec.Template.Spec
	if pod.Volumes[0].Secret.SecretName != m.operator.Name {
		t.Errorf("the doctor reads the secret %s, kustomize makes %s", pod.Volumes[0].Secret.SecretName, m.operator.Name)
	}
	if want := []string{"doctor", "--nodes-file", pod.Containers[0].VolumeMounts[0].MountPath + "/nodes"}; !slices.Equal(pod.Containers[0].Args, want) {
		t.Errorf("the doctor runs %q, want %q", pod.Containers[0].Args, want)
	}
	nodes := strings.Fields(string(m.operator.Data["nodes"]))
	if len(nodes) != int(*m.nodes.Spec.Replicas) {
		t.Errorf("the doctor looks at %d nodes of %d", len(nodes), *m.nodes.Spec.Replicas)
	}
	for i, url := range nodes {
		host := m.nodes.Name + "-" + string(rune('0'+i)) + "." + m.service.Name + "." + m.nodes.Namespace + ".svc:6379"
		if !strings.HasPrefix(url, "redis://operator:") || !strings.HasSuffix(url, "@"+host) {
			t.Errorf("the doctor's node %d is %s, want %s", i, url, host)
		}
	}
}

// A container can do no more than it needs.
func TestKubernetes_ContainersAreConfined(t *testing.T) {
	m := built(t)
	for name, pod := range map[string]core.PodSpec{"nodes": m.nodes.Spec.Template.Spec, "doctor": m.doctor.Spec.JobTemplate.Spec.Template.Spec} {
		c := pod.Containers[0].SecurityContext
		if !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser == 0 || *pod.AutomountServiceAccountToken ||
			*c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Equal(c.Capabilities.Drop, []core.Capability{"ALL"}) {
			t.Errorf("%s: %+v, %+v", name, pod.SecurityContext, c)
		}
		if pod.Containers[0].Resources.Limits.Memory().IsZero() {
			t.Errorf("%s may use all memory of the machine", name)
		}
	}
}

// The rules of the PrometheusRule are those of docs/alerts. With REDLOCK_UPDATE=1 it is written.
func TestKubernetes_AlertsAreThoseOfTheDocs(t *testing.T) {
	const head = "# The rules of docs/alerts/redlock.rules.yml, for the Prometheus operator. To write it anew:\n" +
		"# REDLOCK_UPDATE=1 go -C deploy/tests test . -run AlertsAreThose\n" +
		"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: redlock\nspec:\n"
	_, groups, ok := strings.Cut(harness.ReadFile(t, "../../docs/alerts/redlock.rules.yml"), "groups:\n")
	if !ok {
		t.Fatal("docs/alerts has no groups")
	}
	want := head + "  groups:\n"
	for line := range strings.Lines(groups) {
		want += "  " + line
	}
	const file = "../kubernetes/alerts.yaml"
	if os.Getenv("REDLOCK_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, "kubernetes", "alerts.yaml"); got != want {
		t.Errorf("%s differs from docs/alerts: write it anew, as it says itself", file)
	}
	if rules := built(t).alerts.Spec.Groups; len(rules) == 0 || len(rules[0].Rules) == 0 {
		t.Error("the PrometheusRule has no rules")
	}
}
