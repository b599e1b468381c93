package quorumlock

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestValue_IsRead(t *testing.T) {
	process := "ABCDEFGH" + strings.Repeat("P", processLen-8)
	since := time.UnixMilli(1_764_039_600_123)
	for value, want := range map[string]struct {
		h    Holder
		text string
	}{
		"": {Holder{}, "nobody"},
		process + "/" + "hdaslrrdxc" + "/web-7:81":                {Holder{WriterRedlock, "ABCDEFGH", "web-7", 81, "", since, false}, "web-7:81"},
		process + "/" + "hdaslrrdxc" + "/web-7:81/cron: a/b":      {Holder{WriterRedlock, "ABCDEFGH", "web-7", 81, "cron: a/b", since, false}, "cron: a/b (web-7:81)"},
		process + "/1z/fe80::1:81":                                {Holder{WriterRedlock, "ABCDEFGH", "fe80::1", 81, "", time.Time{}, false}, "fe80::1:81"},
		process + "/+hdaslrrdxc/web-7:81":                         {Holder{WriterRedlock, "ABCDEFGH", "web-7", 81, "", since, true}, "web-7:81"},
		process + "/1z/just a name":                               {Holder{WriterRedlock, "ABCDEFGH", "", 0, "just a name", time.Time{}, false}, "just a name"},
		process + "/-/ops:7":                                      {Holder{WriterForced, "ABCDEFGH", "ops", 7, "", time.Time{}, false}, "released by force by ops:7"},
		process + "/-/ops:7/ann":                                  {Holder{WriterForced, "ABCDEFGH", "ops", 7, "ann", time.Time{}, false}, "released by force by ann (ops:7)"},
		process + "/~hdaslrrdxc/ops:7/ann":                        {Holder{WriterDetached, "ABCDEFGH", "ops", 7, "ann", since, false}, "detached by ann (ops:7)"},
		process + "/~+hdaslrrdxc/ops:7":                           {Holder{WriterDetached, "ABCDEFGH", "ops", 7, "", since, false}, "detached by ops:7"},
		process + "/1z":                                           {Holder{Writer: WriterForeign}, "another library"},
		process[1:] + "/1z/web-7:81":                              {Holder{Writer: WriterForeign}, "another library"},
		"bGV0IG1lIGluLCBwbGVhcw==":                                {Holder{Writer: WriterRedsync}, "redsync"},
		"bGV0IG1lIGluLCBwbGVhc2U=":                                {Holder{Writer: WriterForeign}, "another library"},
		process + "/zzzzzzzzzzzzzzz/web-7:99999999999/" + "a\x1b": {Holder{WriterRedlock, "ABCDEFGH", "", 0, "web-7:99999999999/a\x1b", time.Time{}, false}, "web-7:99999999999/a\x1b"},
	} {
		got := readValue(value)
		if got != want.h {
			t.Errorf("readValue(%q) = %+v, want %+v", value, got, want.h)
		}
		if got.String() != want.text {
			t.Errorf("of %q a person sees %q, want %q", value, got, want.text)
		}
	}
}

// Host and process travel beside a label that the user gives.
func TestValue_NamesTheHolderAndSinceWhen(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{TTL: lasting})
		for _, owner := range []string{"", "nightly"} {
			before := time.Now().Truncate(time.Millisecond)
			h := acquireEverywhere(t, red, "key "+owner, Request{Owner: owner})
			got := readValue(r.Get(0, "lock:key "+owner))
			if got.PID != os.Getpid() || got.Host == "" || got.Name != owner || got.Since.Before(before) || got.Since.After(time.Now()) {
				t.Errorf("with the label %q: %+v", owner, got)
			}
			if !strings.HasPrefix(h.Value(), got.Process) || len(got.Process) >= processLen {
				t.Errorf("the process %q", got.Process)
			}
			must(t, h.Release(context.Background()))
		}
	})
}

// The clock may be set back, and is asked more often than it moves.
func TestNonce_IsNeverUsedTwice(t *testing.T) {
	now := time.Now().Add(time.Hour)
	a, b, c := nonce(now), nonce(now), nonce(now.Add(-time.Minute))
	newest.Store(0)
	if a >= b || b >= c {
		t.Error(a, b, c)
	}
}
