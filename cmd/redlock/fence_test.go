package main

import (
	"errors"
	"path/filepath"
	"strings"
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

// A script that forgets --read would refuse the readers beside it, and write.
func TestFenceCheck_AReadersTokenNeedsRead(t *testing.T) {
	for _, name := range []string{"REDLOCK_KEY", "REDLOCK_TOKEN", "REDLOCK_TOKENS", "REDLOCK_SHARED", "REDLOCK_SHARED_KEYS"} {
		t.Setenv(name, "")
	}
	all := func(string) bool { return true }
	last := func(key string) bool { return key != "a" }
	tokens := func(string) int64 { return 7 }
	for _, tt := range []struct {
		name string
		env  []string
		key  string
		args []string
		code int
	}{
		{"one key", tokensOf([]string{"a"}, tokens, all), "a", []string{"7"}, exitUsage},
		{"one key, --read", tokensOf([]string{"a"}, tokens, all), "a", []string{"7", "--read"}, 0},
		{"another key", tokensOf([]string{"a"}, tokens, all), "b", []string{"7"}, 0},
		{"another token", tokensOf([]string{"a"}, tokens, all), "a", []string{"8"}, 0},
		{"one key that is not read", tokensOf([]string{"a"}, tokens, last), "a", []string{"7"}, 0},
		{"of several, one that is read", tokensOf([]string{"a", "b\xff"}, tokens, last), "b\xff", []string{"7"}, exitUsage},
		{"of several, another token", tokensOf([]string{"a", "b"}, tokens, last), "b", []string{"8"}, 0},
		{"of several, one that is not read", tokensOf([]string{"a", "b"}, tokens, last), "a", []string{"7"}, 0},
		{"no run around it", nil, "a", []string{"7"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, variable := range tt.env {
				name, value, _ := strings.Cut(variable, "=")
				t.Setenv(name, value)
			}
			p := launch(t, nil, append([]string{"fence", "check", filepath.Join(t.TempDir(), "fence"), tt.key}, tt.args...)...)
			p.exit(tt.code)
			if tt.code != 0 {
				p.prints(`TOKEN 7 is a reader's.*give --read`)
			}
		})
	}
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
