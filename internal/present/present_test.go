package present

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

func TestLine_EscapesWhatOthersWrote(t *testing.T) {
	for in, want := range map[string]string{
		"order:42": "order:42", "ключ": "ключ", "a\x1b[2Jb": `a\x1b[2Jb`, "two\nlines": `two\nlines`, "\xff": `\xff`, "a\"b\x00": `a"b\x00`,
		"\u202egnirts": `\u202egnirts`, "\u009b": `\u009b`, "\U000e0001": `\U000e0001`, "": "", `back\slash`: `back\slash`,
	} {
		if got := Line(in); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestEscapeJSON_MeansTheSame(t *testing.T) {
	for _, r := range "\u202e\x07\U000e0001é" {
		var b strings.Builder
		EscapeJSON(&b, r)
		var back string
		if err := json.Unmarshal([]byte(`"`+b.String()+`"`), &back); err != nil || back != string(r) {
			t.Errorf("%q: %s, which is %q, %v", r, b.String(), back, err)
		}
	}
}

func TestCut_LeavesASign(t *testing.T) {
	for n, want := range []string{"…", "…", "ö…", "öff", "öff"} {
		if got := Cut("öff", n); got != want {
			t.Errorf("cut to %d: %q, want %q", n, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	got := []string{Thousands(0), Thousands(999), Thousands(1000), Thousands(1234567), Plural(1, "lock", "locks"), Plural(0, "lock", "locks"),
		Plural(1500, "lock", "locks"), fmt.Sprint(Ms(1234567 * time.Nanosecond))}
	want := []string{"0", "999", "1,000", "1,234,567", "1 lock", "0 locks", "1,500 locks", "1.235"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// reply is an error that a server sent.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

func TestNodeState(t *testing.T) {
	for _, tt := range []struct {
		err      error
		want     string
		unusable bool
	}{
		{reply("NOAUTH Authentication required."), "refuses", true},
		{fmt.Errorf("hello: %w", reply("WRONGPASS")), "refuses", true},
		{os.ErrDeadlineExceeded, "silent", false}, {context.DeadlineExceeded, "silent", false}, {errors.New("connection refused"), "down", false}, {nil, "down", false},
	} {
		got := NodeState(cluster.Report{Status: cluster.Status{Err: tt.err}})
		if got != tt.want || Unusable(tt.err) != tt.unusable {
			t.Errorf("%v: %s, unusable is %t", tt.err, got, Unusable(tt.err))
		}
	}
	if got := NodeState(cluster.Report{Status: cluster.Status{Up: true}}); got != "up" {
		t.Errorf("a node that is up: %s", got)
	}
}

func TestError_OnOneLine(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{nil, "not known"}, {errors.New("redlock: no\nquorum\x1b"), `no\nquorum\x1b`},
		{errors.New("ERR script\nstack traceback:\n\t[G]: in ?"), "ERR script"},
	} {
		if got := Error(tt.err); got != tt.want {
			t.Errorf("%v: %s, want %s", tt.err, got, tt.want)
		}
	}
}
