package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// project loads compose.yaml as Compose does, in a copy of deploy.
func project(t *testing.T, deploy string, profiles ...string) (*types.Project, error) {
	t.Helper()
	options, err := cli.NewProjectOptions([]string{filepath.Join(deploy, "compose.yaml")},
		cli.WithWorkingDirectory(deploy), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithProfiles(profiles))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(t.Context())
}

// composed is the project with everything in it.
func composed(t *testing.T) (p *types.Project, deploy string) {
	t.Helper()
	deploy = withSecrets(t)
	p, err := project(t, deploy, "doctor")
	if err != nil {
		t.Fatal(err)
	}
	return p, deploy
}

func TestCompose_NeedsPasswords(t *testing.T) {
	if _, err := project(t, copied(t), "doctor"); err == nil || !strings.Contains(err.Error(), "secrets.sh new") {
		t.Errorf("without passwords: %v", err)
	}
}

func TestCompose_FiveNodesKeepTheirData(t *testing.T) {
	p, _ := composed(t)
	volumes, ports := map[string]bool{}, map[string]bool{}
	for i := 1; i <= 5; i++ {
		s, err := p.GetService(fmt.Sprintf("node%d", i))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.Volumes) != 1 || s.Volumes[0].Target != "/data" || s.Volumes[0].Type != "volume" || volumes[s.Volumes[0].Source] {
			t.Errorf("node%d keeps its data in %+v, want a volume of its own at /data", i, s.Volumes)
		} else {
			volumes[s.Volumes[0].Source] = true
		}
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" || ports[port.Published] {
				t.Errorf("node%d is published at %s:%s, want a port of its own on loopback", i, port.HostIP, port.Published)
			}
			ports[port.Published] = true
		}
		if s.HealthCheck == nil || s.Restart == "" || s.MemLimit <= 0 {
			t.Errorf("node%d has no health check, restart policy or limit of memory", i)
		}
		targets := map[string]string{}
		for _, c := range s.Configs {
			targets[c.Target] = c.Source
		}
		if targets[confPath] != "valkey.conf" || targets[usersPath] != "users.acl" {
			t.Errorf("node%d reads %v, want valkey.conf at %s and users.acl at %s", i, targets, confPath, usersPath)
		}
	}
	if _, err := p.GetService("node6"); err == nil {
		t.Error("there are more than five nodes")
	}
}

// What the services read from the repository is there.
func TestCompose_MountedFilesExist(t *testing.T) {
	p, _ := composed(t)
	var paths []string
	for _, s := range p.Services {
		for _, v := range s.Volumes {
			if v.Type == "bind" {
				paths = append(paths, v.Source)
			}
		}
	}
	for _, c := range p.Configs {
		paths = append(paths, c.File)
	}
	if len(paths) < 6 {
		t.Errorf("the services read %v only", paths)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestCompose_DoctorIsRunOnDemand(t *testing.T) {
	p, deploy := composed(t)
	doctor, err := p.GetService("doctor")
	if err != nil {
		t.Fatal(err)
	}
	nodes := doctor.Environment["REDLOCK_NODES"]
	if nodes == nil {
		t.Fatal("the doctor is given no nodes")
	}
	var want []string
	for i := 1; i <= 5; i++ {
		want = append(want, fmt.Sprintf("redis://operator:%s@node%d:6379", environment(t, deploy)["OPERATOR_PASSWORD"], i))
	}
	if !slices.Equal(strings.Split(*nodes, ","), want) {
		t.Errorf("the doctor looks at %s, want %s", *nodes, strings.Join(want, ","))
	}
	if !slices.Equal(doctor.Command, []string{"doctor"}) {
		t.Errorf("the doctor runs %q", doctor.Command)
	}
	p, err = project(t, deploy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.GetService("doctor"); err == nil {
		t.Error("docker compose up starts the doctor too")
	}
}
