package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// systemd reads the units. The programs and the user that they name are replaced
// by some that this machine has, which systemd looks for.
func TestSystemd_UnitsAreValid(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed: apt-get install systemd")
	}
	server, err := redisserver.Available()
	if err != nil {
		t.Skip(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer("/usr/bin/valkey-server", server, "/usr/local/bin/redlock", self,
		"User=valkey", "User=daemon", "Group=valkey", "Group=daemon")
	dir := t.TempDir()
	units, err := filepath.Glob("../systemd/*.[st][ei][rm]*")
	if err != nil || len(units) != 3 {
		t.Fatalf("units: %v, %v", units, err)
	}
	page := harness.ReadFile(t, "../../docs/deploy.md")
	for i, unit := range units {
		if !strings.Contains(page, "deploy/systemd/"+filepath.Base(unit)) {
			t.Errorf("docs/deploy.md does not say how to install %s", unit)
		}
		units[i] = filepath.Join(dir, filepath.Base(unit))
		text := here.Replace(read(t, "systemd", filepath.Base(unit)))
		if err := os.WriteFile(units[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), analyze, append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
