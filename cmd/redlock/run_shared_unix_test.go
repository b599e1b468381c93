//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
	"github.com/venta-hq/redlock/lock"
)

func TestRun_SharedRunsTogetherWithSharedOnly(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{})
	reader := []string{"run", "--shared", "key", "--", "sh", "-c", `echo "in $REDLOCK_TOKEN"; cat`}
	one := launch(t, s.URLs(), reader...)
	first := one.stdout.line(t, "in ")
	two := launch(t, s.URLs(), reader...)
	two.stdout.line(t, "in ")
	operate(t, s.URLs(), 75, "run", "--no-wait", "key", "--", "echo", "never").prints(`"key" is held by "readers"`)
	operate(t, s.URLs(), 0, "inspect", "key").prints("key is shared by readers", "mode +shared", "readers +2 processes", `READER +PROCESS`)
	operate(t, s.URLs(), 0, "ls").prints("key +shared +2 readers", " reader ")
	doc := decode[lockDoc](t, operate(t, s.URLs(), 0, "inspect", "key", "--output", "json"))
	if doc.Holder == nil || doc.Holder.Writer != "shared" || doc.Mode != "shared" || len(doc.Readers) != 2 || doc.Readers[0].PID == 0 || doc.Readers[0].LeftMs == nil {
		t.Errorf("%+v", doc)
	}
	writer := launch(t, s.URLs(), "run", "-v", "key", "--", "sh", "-c", `echo "in $REDLOCK_TOKEN"`)
	writer.stderr.line(t, "waiting for")
	one.exit(0)
	two.exit(0)
	writer.exit(0)
	if got := writer.stdout.line(t, "in "); len(got) < len(first) || len(got) == len(first) && got <= first {
		t.Errorf("the writer has %q after readers with %q", got, first)
	}
}

func TestRun_ReadHoldsSomeKeysTogetherAndOthersAlone(t *testing.T) {
	harness.Beside(t, 3, readsSomeKeys)
}

func readsSomeKeys(t *testing.T, s harness.Set) {
	const script = `echo "$REDLOCK_TOKEN_1 $REDLOCK_TOKEN_2 $REDLOCK_TOKEN_3 $REDLOCK_TOKENS"; cat`
	var all []*program
	for i := range 2 { // each while the one before runs
		account := fmt.Sprint("account:", i)
		p := launch(t, s.URLs(), "run", "--no-wait", "--read", "rates", "--read", "limits,old", account, "--", "sh", "-c", script)
		var tokens [3]int64
		var text string
		line := p.stdout.line(t, "{")
		if _, err := fmt.Sscan(line, &tokens[0], &tokens[1], &tokens[2], &text); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		byKey := map[string]int64{}
		if err := json.Unmarshal([]byte(text), &byKey); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if want := map[string]int64{account: tokens[0], "rates": tokens[1], "limits,old": tokens[2]}; !maps.Equal(byKey, want) {
			t.Errorf("REDLOCK_TOKENS is %s; the tokens are %v", text, tokens)
		}
		all = append(all, p)
	}
	for _, tt := range []struct {
		args []string
		held string
	}{
		{[]string{"rates"}, `"rates" is held by "readers"`},
		{[]string{"account:1"}, `"account:1" is held by `},
		{[]string{"--read", "account:1", "other"}, `"account:1" is held by `},
		{[]string{"--shared", "rates", "account:0"}, `"account:0" is held by `},
	} {
		operate(t, s.URLs(), 75, slices.Concat([]string{"run", "--no-wait"}, tt.args, []string{"--", "echo", "never"})...).prints(tt.held)
	}
	operate(t, s.URLs(), 0, "run", "-v", "--no-wait", "--shared", "rates", "limits,old", "--", "true").prints(`acquired "rates", "limits,old"`)
	for _, p := range all {
		p.exit(0)
	}
	operate(t, s.URLs(), 0, "run", "--no-wait", "rates", "limits,old", "account:0", "account:1", "--", "true")
}

// The script below redlock run is refused until it says that it reads.
func TestRun_FenceCheckOfAReaderNeedsRead(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	self, err := theProgram()
	if err != nil {
		t.Fatal(err)
	}
	const script = `
"$0" fence check "$1" "$2" "$3"; echo "without: $?"
"$0" fence check --read "$1" "$2" "$3"; echo "with: $?"`
	for i, tt := range []struct {
		run  []string
		args string
	}{
		{[]string{"--shared", "catalog"}, `catalog "$REDLOCK_TOKEN"`},
		{[]string{"--read", "catalog", "order"}, `catalog "$REDLOCK_TOKEN_2"`},
	} {
		file := filepath.Join(t.TempDir(), fmt.Sprint("fence", i))
		argv := slices.Concat([]string{"run"}, tt.run, []string{"--", "sh", "-c", strings.NewReplacer(`"$2" "$3"`, tt.args).Replace(script), self, file})
		p := launch(t, s.URLs(), argv...)
		p.exit(0)
		if got := p.stdout.String(); !strings.Contains(got, "without: 2\nwith: 0\n") || !strings.Contains(p.stderr.String(), "give --read") {
			t.Errorf("%q: %s%s", tt.run, got, p.stderr)
		}
	}
}

func TestRun_SharedWithWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	for _, tt := range []struct{ flags, says string }{
		{"--shared --once a", "--shared, --once: give one of them"},
		{"--read b --once a", "--once: takes one KEY and no --read; you named 2 keys"},
		{"--read b --shared a", "--read with --shared: --shared reads every KEY"},
		{"--read a b a", `--read "a": is also given as KEY; name it once`},
		{"--read a a", `--read "a": is also given as KEY; name it once`},
		{"--read= a", "--read is empty"},
		{"--read b --limit 2 a", "--limit: use it with one KEY"},
		{"--read b -- true", "KEY is missing before --"},
	} {
		p := launch(t, s.URLs(), append(append([]string{"run"}, strings.Fields(tt.flags)...), "--", "true")...)
		p.exit(2)
		if !strings.Contains(p.stderr.String(), tt.says) {
			t.Errorf("%q: %s", tt.flags, p.stderr)
		}
	}
	args := []string{"run"}
	for i := range lock.MaxKeys {
		args = append(args, fmt.Sprint("--read=", i))
	}
	p := launch(t, s.URLs(), append(args, "a", "--", "true")...)
	p.exit(2)
	if want := fmt.Sprintf("KEY and --read: %d keys; name at most %d", lock.MaxKeys+1, lock.MaxKeys); !strings.Contains(p.stderr.String(), want) {
		t.Errorf("%s, want %q", p.stderr, want)
	}
}
