package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// asProgram is set in the environment of a test binary that is to be the program.
const asProgram = "EXAMPLE_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	harness.Main(m)
}

// A job whose worker is killed half-way is finished by another, and no item is done twice.
func TestAKilledJobIsFinishedByAnotherProcess(t *testing.T) {
	harness.Each(t, 5, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asProgram+"=1", nodesAt+"="+strings.Join(s.URLs(), ","))
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
