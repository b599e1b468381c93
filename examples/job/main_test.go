package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// A job whose worker is killed half-way is finished by another, and no item is done twice.
func TestAKilledJobIsFinishedByAnotherProcess(t *testing.T) {
	job := filepath.Join(t.TempDir(), "job")
	if out, err := exec.Command("go", "build", "-o", job, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	harness.Each(t, 5, func(t *testing.T, s harness.Set) {
		cmd := exec.Command(job)
		cmd.Env = append(os.Environ(), nodesAt+"="+strings.Join(s.URLs(), ","))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		for _, line := range []string{
			`worker \d+: begins`,
			`worker \d+: killed when 10 of 20 items were stored`,
			`worker \d+: goes on at item 9, where the worker with token \d+ was`,
			`worker \d+: done`,
			`store: 20 items, each once; 1 offered again, 1 refused`,
		} {
			if !regexp.MustCompile("(?m)^" + line + "$").Match(out) {
				t.Errorf("no line like %q in\n%s", line, out)
			}
		}
	})
}
