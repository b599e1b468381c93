package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // nodes are stopped all the time here
	harness.Main(m)
}

// Where the files keep the configuration of a node, and its users.
const (
	confPath  = "/etc/redlock-node/valkey.conf"
	usersPath = "/etc/redlock-node/users.acl"
)

// read returns a file of deploy.
func read(t *testing.T, elem ...string) string {
	t.Helper()
	return harness.ReadFile(t, filepath.Join(append([]string{".."}, elem...)...))
}

// copied returns a copy of deploy for secrets.sh to write into, beside a copy of
// what its files refer to.
func copied(t *testing.T) string {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("secrets.sh needs a POSIX shell")
	}
	root := t.TempDir()
	for from, to := range map[string]string{"..": "deploy", "../../docs/alerts": "docs/alerts", "../../docs/dashboard": "docs/dashboard"} {
		for _, path := range committed(t, from) {
			text := harness.ReadFile(t, filepath.Join(from, path))
			target := filepath.Join(root, to, path)
			if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(target, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return filepath.Join(root, "deploy")
}

// committed are the files of a folder but those of this package, and those that
// secrets.sh wrote for somebody.
func committed(t *testing.T, folder string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && name == "tests":
			return filepath.SkipDir
		case d.IsDir() || name == ".env" || name == "users.acl" || name == "nodes":
			return nil
		}
		path, err = filepath.Rel(folder, path)
		files = append(files, path)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %d files, %v", folder, len(files), err)
	}
	return files
}

// secrets runs secrets.sh in a copy of deploy, and returns what it prints.
func secrets(t *testing.T, deploy, verb string) (string, error) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", filepath.Join(deploy, "secrets.sh"), verb).CombinedOutput()
	if err != nil {
		t.Logf("secrets.sh %s: %s", verb, out)
	}
	return string(out), err
}

// withSecrets is a copy of deploy with new passwords.
func withSecrets(t *testing.T) (deploy string) {
	t.Helper()
	deploy = copied(t)
	if _, err := secrets(t, deploy, "new"); err != nil {
		t.Fatal(err)
	}
	return deploy
}

// environment is what secrets.sh wrote for Compose.
func environment(t *testing.T, deploy string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(harness.ReadFile(t, filepath.Join(deploy, ".env"))) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			all[name] = value
		}
	}
	return all
}

// Images are named so that any registry can have them.
func TestFiles_ImagesNameNoRegistry(t *testing.T) {
	found := 0
	for _, path := range []string{"compose.yaml", "kubernetes/statefulset.yaml", "kubernetes/doctor.yaml"} {
		for line := range strings.Lines(read(t, path)) {
			image, ok := strings.CutPrefix(strings.TrimLeft(strings.TrimSpace(line), "- "), "image: ")
			if !ok {
				continue
			}
			found++
			if host, _, ok := strings.Cut(image, "/"); ok && strings.ContainsAny(host, ".:") || host == "localhost" {
				t.Errorf("%s: the image %s is of the registry %s", path, image, host)
			}
		}
	}
	if found < 5 {
		t.Errorf("the files name %d images only", found)
	}
}
