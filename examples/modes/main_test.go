package main

import (
	"os"
	"os/exec"
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

// Four processes do everything at once, and nothing is done twice, lost or read
// half-way.
func TestNothingIsDoneTwiceLostOrReadHalfWay(t *testing.T) {
	harness.Each(t, 5, func(t *testing.T, s harness.Set) {
		t.Parallel()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), asProgram+"=1", nodesAt+"="+strings.Join(s.URLs(), ","))
		out, err := cmd.CombinedOutput()
		want := "5 orders handled once, 16 editions of the catalog and 16 of the rates, 400 in all accounts\n"
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
