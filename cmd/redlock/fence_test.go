package main

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/venta-hq/redlock/fence"
)

func TestFenceCheck_ATokenPassesUntilANewerOneWasChecked(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fence")
	check := func(token string, code int) *program {
		t.Helper()
		p := launch(t, nil, "fence", "check", file, "report \xff\n", token)
		p.exit(code)
		return p
	}
	check("7", 0)
	check("7", 0)
	check("9", 0)
	p := check("8", exitStale)
	p.prints(`redlock: stale fencing token of "report \\xff\\n": 8, but 9 was seen`)
	check("9007199254740991", 0)
	check("9", exitStale)
	if err := (fence.File{Path: file}).CheckToken(t.Context(), "report \xff\n", 9); !errors.Is(err, fence.ErrStale) {
		t.Errorf("the library reads another key from the file: %v", err)
	}
}

func TestFenceCheck_ReadersRefuseWritersFromBefore(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fence")
	check := func(code int, args ...string) *program {
		t.Helper()
		p := launch(t, nil, append([]string{"fence", "check", file, "report"}, args...)...)
		p.exit(code)
		return p
	}
	check(0, "7")
	check(0, "9", "--read")
	check(0, "7", "--read")
	check(exitStale, "6", "--read")
	p := check(exitStale, "9")
	p.prints(`redlock: stale fencing token of "report": 9, but 9 of a reader was seen`)
	check(0, "10")
	check(exitStale, "9", "--read")
}

func TestFenceCheck_BadInputSaysWhatIsAllowed(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "fence")
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--help"}, 0, `77 stale`},
		{nil, exitUsage, `<FILE>`},
		{[]string{file, "k"}, exitUsage, `<TOKEN>`},
		{[]string{file, "k", ""}, exitUsage, `TOKEN "": give a whole number from 1 to 9007199254740991`},
		{[]string{file, "k", "0"}, exitUsage, `TOKEN "0": give a whole number`},
		{[]string{file, "k", "9007199254740992"}, exitUsage, `TOKEN "9007199254740992": give a whole number`},
		{[]string{file, "k", "1e3"}, exitUsage, `TOKEN "1e3": give a whole number`},
		{[]string{"", "", "x"}, exitUsage, `(?s)FILE is empty.*KEY is empty.*TOKEN "x"`},
		{[]string{file, "k", "1", "--wait=0s"}, exitUsage, `--wait 0s: give a positive duration`},
		{[]string{filepath.Join(file, "none"), "k", "1"}, exitFailure, `none|no such file`},
	} {
		p := launch(t, nil, append([]string{"fence", "check"}, tt.args...)...)
		p.exit(tt.code)
		p.prints(tt.want)
	}
}
