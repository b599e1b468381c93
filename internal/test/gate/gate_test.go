package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/machine"
)

// runIn runs one stage of go test in a module made of the given files, and
// returns its output and exit status.
func runIn(t *testing.T, files map[string]string) (text string, code int) {
	t.Helper()
	root := t.TempDir()
	files["go.mod"] = "module example.com/m\n\ngo 1.26\n"
	for name, content := range files {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	meter := machine.Start()
	defer meter.Stop()
	var out bytes.Buffer
	g := &gate{root: root, logs: filepath.Join(root, "logs"), out: &out, began: time.Now(), meter: meter}
	code = g.run(t.Context(), []stage{{"tests", "short", commands(command{args: []string{"-p=1"}, packages: []string{"./..."}})}})
	return out.String(), code
}

// inOrder checks that a text contains the parts in this order.
func inOrder(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Fatalf("%q is missing, or not in its place, in:\n%s", part, text)
		}
		rest = after
	}
}

func TestGate_ShowsWhatATestReportedBeforeTheLog(t *testing.T) {
	text, code := runIn(t, map[string]string{
		"a_test.go": `package m
import ("fmt"; "testing")
func TestFine(t *testing.T) {}
func TestBroken(t *testing.T) {
	for range 100 { fmt.Println("pool.go:770: failed to dial") }
	t.Run("row", func(t *testing.T) { t.Error("two holders\nat once") })
}
`,
		"b/b_test.go": `package b
import "testing"
func TestCompiles(t *testing.T) { undefined() }
`,
		"c/c_test.go": `package c
import "testing"
func TestPanics(t *testing.T) { panic("at the disco") }
`,
	})
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	inOrder(t, text, "tests (short) … FAILED", "FAIL example.com/m TestBroken/row", "a_test.go:6: two holders", "at once", "again: go test", "'^TestBroken$/^row$' example.com/m", "The whole output is in")
	inOrder(t, text, "FAIL example.com/m/b", "undefined: undefined")
	inOrder(t, text, "FAIL example.com/m/c TestPanics", "at the disco")
	if strings.Contains(text, "pool.go") || strings.Contains(text, "Passed") {
		t.Errorf("more than the reported lines, or a pass:\n%s", text)
	}
}

func TestGate_RepeatsWhatASlowMachineKeptFromBeingJudged(t *testing.T) {
	text, code := runIn(t, map[string]string{"a_test.go": `package m
import ("os"; "testing")
const slow = "` + machine.Inconclusive + `: it was"
func TestOnce(t *testing.T) {
	if os.Mkdir("second", 0o700) == nil { t.Skip(slow) }
}
func TestAlways(t *testing.T) { t.Run("a b", func(t *testing.T) { t.Skip(slow) }) }
func TestNever(t *testing.T) { t.Skip("there is no zsh") }
func TestNeverEither(t *testing.T) { t.Skip("there is no zsh") }
`})
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	inOrder(t, text, "… ok, 1 tests", "Left out:", "TestNever and 1 more: there is no zsh", "Not judged", "timers of this program", "TestAlways/a_b: "+machine.Inconclusive+": it was", "Passed in", "1 passed, 0 failed, 3 skipped")
	if strings.Contains(text, "TestOnce:") {
		t.Errorf("a test that passed when it was repeated is listed:\n%s", text)
	}
}

func TestGate_ATestThatFailsWhenRepeatedFailsTheStage(t *testing.T) {
	text, code := runIn(t, map[string]string{"a_test.go": `package m
import ("os"; "testing")
func TestTwice(t *testing.T) {
	if os.Mkdir("second", 0o700) == nil { t.Skip("` + machine.Inconclusive + `") }
	t.Fatal("a token was issued twice")
}
`})
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	inOrder(t, text, "FAILED", "FAIL example.com/m TestTwice", "a token was issued twice", "FAILED after")
}

func TestRun_RefusesWhatItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{}, {"tests"}, {"test", "gate"}, {"-only", "(", "test"}, {"-only", "nothing at all", "test"}, {"-what", "test"}} {
		if code := run(args); code != 2 {
			t.Errorf("%q: exit status %d, want 2", args, code)
		}
	}
	if code := run([]string{"-list", "gate"}); code != 0 {
		t.Errorf("-list: exit status %d", code)
	}
}

func TestGate_AStageWithoutTestsFails(t *testing.T) {
	text, code := runIn(t, map[string]string{"a.go": "package m\n"})
	if code != 1 {
		t.Errorf("exit status %d", code)
	}
	inOrder(t, text, "FAILED", "no test ran")
}

// An inconclusive chaos row is repeated with its seed. If it does not run
// again, it has not passed.
func TestGate_RepeatsTheSameSeed(t *testing.T) {
	const row = `package m
import ("os"; "testing")
func TestScenarios(t *testing.T) {
	seed := "42"
	if os.Mkdir("second", 0o700) != nil { seed = %s }
	t.Run("seed=" + seed, func(t *testing.T) { t.Run("row", func(t *testing.T) {
		if os.Getenv("REDLOCK_CHAOS_SEED") != "42" { t.Skip("` + machine.Inconclusive + `") }
	}) })
}
`
	text, code := runIn(t, map[string]string{"a_test.go": strings.Replace(row, "%s", `os.Getenv("REDLOCK_CHAOS_SEED")`, 1)})
	if code != 0 || strings.Contains(text, "Not judged") {
		t.Errorf("with the same seed: exit status %d:\n%s", code, text)
	}
	text, code = runIn(t, map[string]string{"a_test.go": strings.Replace(row, "%s", `"7"`, 1)})
	if code != 0 {
		t.Errorf("with another seed: exit status %d", code)
	}
	inOrder(t, text, "Not judged", "TestScenarios/seed=42/row")
}
