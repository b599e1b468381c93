package fence_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
)

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Skip(err)
	}
}

// The names of a file are one file from the first check on. A link that would be
// replaced, or that had a lock of its own, would let late writers pass.
func TestFile_ALinkToAFileThatIsNotThereYet(t *testing.T) {
	for name, lay := range map[string]func(dir string) (path string){
		"relative": func(dir string) string { link(t, "data/fence", dir+"/link"); return dir + "/link" },
		"absolute": func(dir string) string { link(t, dir+"/data/fence", dir+"/link"); return dir + "/link" },
		"upwards":  func(dir string) string { link(t, "../data/fence", dir+"/jobs/link"); return dir + "/jobs/link" },
		"two links": func(dir string) string {
			link(t, "data/fence", dir+"/l")
			link(t, "l", dir+"/link")
			return dir + "/link"
		},
		"a directory": func(dir string) string { link(t, "data", dir+"/d"); return dir + "/d/fence" },
		"beyond a directory": func(dir string) string {
			link(t, dir+"/data/inner", dir+"/jobs/d")
			return dir + "/jobs/d/../fence"
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, sub := range []string{"data", "data/inner", "jobs"} {
				pass(t, os.Mkdir(filepath.Join(dir, sub), 0o700))
			}
			path := lay(dir)
			before, err := os.Readlink(path)
			pass(t, fence.File{Path: path}.CheckToken(t.Context(), "k", 9))
			stale(t, fence.File{Path: dir + "/data/fence"}.CheckToken(t.Context(), "k", 7), "k", 7, 9)
			if after, errAfter := os.Readlink(path); after != before || (err == nil) != (errAfter == nil) {
				t.Errorf("the link to %q is one to %q: %v", before, after, errAfter)
			}
			err = filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
				if name := d.Name(); strings.HasSuffix(name, ".lock") && at != dir+"/data/fence.lock" {
					t.Errorf("there is a lock %s", at)
				}
				return err
			})
			pass(t, err)
		})
	}
}

func TestFile_ALinkThatLeadsNowhereIsAnErrorAndStays(t *testing.T) {
	for target, want := range map[string]string{"none/fence": "none", "link": "links"} {
		path := filepath.Join(t.TempDir(), "link")
		link(t, target, path)
		if err := (fence.File{Path: path}).CheckToken(t.Context(), "k", 9); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a link to %s: %v, want an error with %q", target, err, want)
		}
		if got, err := os.Readlink(path); got != target || err != nil {
			t.Errorf("the link to %s is one to %q: %v", target, got, err)
		}
		if _, err := os.Stat(path + ".lock"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the link to %s has a lock: %v", target, err)
		}
	}
}
