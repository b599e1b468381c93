package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// fetched returns a gate in a folder with these servers, by program.
func fetched(t *testing.T, versions map[string]string) *gate {
	t.Helper()
	root := t.TempDir()
	for from, version := range versions {
		dir := filepath.Join(root, "bin", "servers", strings.ReplaceAll(from, " ", "-"))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"from": from + "\n", "version": version + "\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return &gate{root: root}
}

func TestServers_TheNewestValkeyIsTested(t *testing.T) {
	g := fetched(t, map[string]string{
		"valkey trixie": "8.1.1", "valkey sid": "10.0.2", "valkey bookworm-backports": "9.1.10", "redis trixie": "80.0.0", "redict sid": "90.3.6",
	})
	all, err := newestValkey(t.Context(), g)
	if err != nil || len(all) != 2 || !slices.Contains(all[1].packages, "./chaos_test") {
		t.Fatalf("tested on %+v, %v", all, err)
	}
	want := "REDLOCK_TEST_SERVER=" + filepath.Join(g.root, "bin", "servers", "valkey-sid", "redis-server")
	for _, c := range all {
		if c.on != "valkey 10.0.2" || !slices.Contains(c.env, want) || !slices.Contains(c.env, "REDLOCK_TEST_BACKENDS=redis") {
			t.Errorf("on %s, the environment is %q, want %s", c.on, c.env, want)
		}
	}
}

// scripts/servers.sh lists the same servers, with their versions, and fails if
// there are none.
func TestServers_TheScriptListsThem(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the script needs a POSIX shell")
	}
	script, err := os.ReadFile(filepath.FromSlash("../../../scripts/servers.sh"))
	if err != nil {
		t.Fatal(err)
	}
	for want, versions := range map[string]map[string]string{
		"valkey 10.0.2 valkey-sid, valkey 9.1.10 valkey-trixie, redis 8.0.2 redis-trixie": {"valkey trixie": "9.1.10", "redis trixie": "8.0.2", "valkey sid": "10.0.2"},
		"": nil,
	} {
		root := fetched(t, versions).root
		file := filepath.Join(root, "scripts", "servers.sh")
		if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, script, 0o600)); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), "sh", file, "list").Output()
		got := strings.NewReplacer(filepath.Join(root, "bin", "servers")+"/", "", "/redis-server", "", "\n", ", ").Replace(strings.TrimSpace(string(out)))
		if got != want || (err != nil) != (want == "") {
			t.Errorf("listed %q, %v; want %q", got, err, want)
		}
	}
}

// A stage that has nothing to run reports that, and the gate continues.
func TestServers_AStageWithoutThemIsLeftOut(t *testing.T) {
	g := fetched(t, nil)
	g.logs = filepath.Join(g.root, "logs")
	var out bytes.Buffer
	g.out = &out
	if code := g.run(t.Context(), []stage{{"on Valkey", "", newestValkey}}); code != 0 {
		t.Errorf("exit status %d", code)
	}
	inOrder(t, out.String(), "on Valkey … left out", "Left out:", "on Valkey: no Valkey", "Passed")
}

// A tier that has nothing to run at all fails.
func TestServers_AllOfThemMissingFails(t *testing.T) {
	g := fetched(t, nil)
	g.logs = filepath.Join(g.root, "logs")
	var out bytes.Buffer
	g.out = &out
	if code := g.run(t.Context(), tiers["full"]); code != 1 {
		t.Errorf("exit status %d", code)
	}
	inOrder(t, out.String(), "on every server", "FAILED", "make servers fetches them", "FAILED after")
}
