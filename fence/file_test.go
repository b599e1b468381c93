package fence_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/fence"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// countsIn is the variable that makes this binary a program that checks token
// after token in the file that it names, and prints each that passed.
const countsIn = "REDLOCK_TEST_COUNT_IN"

func count(path string) {
	f := fence.File{Path: path}
	for token := int64(1); ; token++ {
		err := f.CheckToken(context.Background(), "k", token)
		if err != nil && !errors.Is(err, fence.ErrStale) {
			fmt.Println("failed:", err)
			return
		}
		if err == nil {
			fmt.Println(token)
		}
	}
}

// A program that is killed at any moment leaves a whole file, with every token
// that it was told had passed.
func TestFile_SurvivesAKillHalfway(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fence")
	f := fence.File{Path: path}
	last := int64(0)
	for range 20 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), countsIn+"="+path)
		out, err := cmd.StdoutPipe()
		pass(t, err)
		pass(t, cmd.Start())
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if n == 3 { // it goes on until the signal arrives
				pass(t, cmd.Process.Kill())
			}
			token, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				t.Fatalf("it printed %q", lines.Text())
			}
			last = max(last, token)
		}
		_ = cmd.Wait() // it was killed
		pass(t, f.CheckToken(t.Context(), "k", last+1))
		stale(t, f.CheckToken(t.Context(), "k", last), "k", last, last+1)
	}
	if last < 60 {
		t.Errorf("only %d tokens passed", last)
	}
}

func TestFile_WhatAKilledProcessLeftIsInNobodysWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	f := fence.File{Path: path}
	pass(t, f.CheckToken(t.Context(), "k", 7))
	pass(t, os.WriteFile(path+".new", []byte("redlock fence 1\nk;"), 0o400))
	pass(t, f.CheckToken(t.Context(), "k", 9))
	stale(t, f.CheckToken(t.Context(), "k", 7), "k", 7, 9)
	if _, err := os.Stat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestFile_WaitsForAnotherCheckUntilTheContextEnds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "fence")
	unlock := lockFile(t, path+".lock")
	f := fence.File{Path: path}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended, waits := make(chan error, 1), make(chan error, 1)
	go func() { ended <- f.CheckToken(ctx, "k", 9) }()
	go func() { waits <- f.CheckToken(t.Context(), "k", 5) }()
	cancel(errors.New("the test says so"))
	err := harness.Receive(t, "the check whose context ended", ended)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the test says so") {
		t.Errorf("the check whose context ended: %v", err)
	}
	select {
	case err := <-waits:
		t.Errorf("the other did not wait: %v", err)
	default:
	}
	unlock()
	pass(t, harness.Receive(t, "the other check", waits))
}

// All names of a file are one file.
func TestFile_ALinkLeadsToTheSameTokens(t *testing.T) {
	dir := t.TempDir()
	path, link := filepath.Join(dir, "fence"), filepath.Join(dir, "link")
	pass(t, fence.File{Path: path}.CheckToken(t.Context(), "k", 7))
	if err := os.Symlink("fence", link); err != nil {
		t.Skip(err)
	}
	pass(t, fence.File{Path: link}.CheckToken(t.Context(), "k", 9))
	stale(t, fence.File{Path: path}.CheckToken(t.Context(), "k", 7), "k", 7, 9)
	if _, err := os.Stat(link + ".lock"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link has a lock of its own: %v", err)
	}
}

func TestFile_KeepsItsPermissions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	f := fence.File{Path: path}
	pass(t, f.CheckToken(t.Context(), "k", 7))
	pass(t, os.Chmod(path, 0o640))
	pass(t, f.CheckToken(t.Context(), "k", 9))
	is, err := os.Stat(path)
	pass(t, err)
	if got := is.Mode().Perm(); got != 0o640 {
		t.Errorf("they are %v", got)
	}
}

func TestFile_IsNotRewrittenForATokenThatIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fence")
	f := fence.File{Path: path}
	pass(t, f.CheckToken(t.Context(), "k", 7))
	before, err := os.Stat(path)
	pass(t, err)
	pass(t, f.CheckToken(t.Context(), "k", 7))
	pass(t, f.Forget(t.Context(), "never seen"))
	stale(t, f.CheckToken(t.Context(), "k", 6), "k", 6, 7)
	after, err := os.Stat(path)
	pass(t, err)
	if !os.SameFile(before, after) {
		t.Error("it was replaced")
	}
}

// What the file cannot be is said, and it stays as it is: a fence that begins
// anew by itself lets late writers pass.
func TestFile_AFileThatIsNoneIsAnError(t *testing.T) {
	for content, want := range map[string]string{
		"": "not a complete token file", "redlock fence 1": "not a complete token file", "redlock fence 2\nk;1\n": "not a complete token file",
		"k;1\n": "not a complete token file", "redlock fence 1\nk;1": "not a complete token file", "redlock fence 1\nk;1\nk;2\n": "line 3",
		"redlock fence 1\nk\n": "line 2", "redlock fence 1\n\n": "line 2", "redlock fence 1\nk;0\n": "line 2", "redlock fence 1\nk;1;r=2\n": "line 2",
	} {
		path := filepath.Join(t.TempDir(), "fence")
		pass(t, os.WriteFile(path, []byte(content), 0o600))
		err := fence.File{Path: path}.CheckToken(t.Context(), "k", 9)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, want an error with %q and the path", content, err, want)
		}
		if n := strings.Count(err.Error(), "redlock: "); n != 1 {
			t.Errorf("%q: the prefix appears %d times: %v", content, n, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != content {
			t.Errorf("%q became %q, %v", content, got, err)
		}
	}
	for path, want := range map[string]string{"": "File.Path is empty", filepath.Join(t.TempDir(), "none", "fence"): "none"} {
		if err := (fence.File{Path: path}).CheckToken(t.Context(), "k", 9); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("path %q: %v", path, err)
		}
	}
}
