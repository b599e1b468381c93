package nodeset

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// What a server says of itself may be anything. It never panics, and what is malformed is not believed.
func FuzzInfo_NothingMalformedIsBelieved(f *testing.F) {
	for _, text := range []string{
		"", "# Server\r\nredis_version:7.2.1\r\nrun_id:abc\r\nuptime_in_seconds:12\r\n\r\nrole:slave\r\naof_enabled:1\r\nmaxmemory_policy:allkeys-lru\r\n",
		"run_id:a\nuptime_in_seconds:-1", "run_id:a\nuptime_in_seconds:9223372036854775807", "run_id:a\nuptime_in_seconds:99999999999999999999",
		"run_id:a\nuptime_in_seconds:1e9", "run_id:a\nuptime_in_seconds:0x7f", "run_id:a\nuptime_in_seconds:2147483647", "run_id:\r\n", ":", "\r\n:\r\n",
		"run_id:a\nrun_id:b\nuptime_in_seconds:5\nuptime_in_seconds:0", "run_id", "redis_version:6\nredis_version:", "role:master:slave", "\x00run_id:\xff",
		"redis_version:999999999999999999999.1.1", "redis_version:-7.-2.1", "redis_version:7",
	} {
		for _, now := range []int64{0, -1, 1 << 53, math.MaxInt64, math.MinInt64, 1_700_000_000_000_000} {
			f.Add(text, now)
		}
	}
	f.Fuzz(func(t *testing.T, text string, clock int64) {
		got := parseInfo(text)
		if got.uptime < 0 || got.uptime > math.MaxInt32*time.Second || !got.now.IsZero() || got.fsyncAlways {
			t.Fatalf("%q: %+v", text, got)
		}
		for _, word := range []string{got.runID, got.version, got.evicts} {
			if !strings.Contains(text, word) || strings.ContainsAny(word, "\n") {
				t.Fatalf("%q: %+v", text, got)
			}
		}
		atLeast(got.version, 6, 2)

		now := time.Now()
		got.now = time.UnixMicro(clock)
		n := bareCluster(now, 1).nodes[0]
		if err := n.learn(got); err != nil {
			t.Fatal(err)
		}
		m, _ := parseMark(n.markDue("", got))
		m.state, m.id, m.record, m.final = stateSeen, n.name, recordOf(n.c), true
		n.saw(m.String())
		n.c.reckon()
		switch {
		case n.votes(now.Add(n.c.cfg.MaxTTL)):
			t.Errorf("%q: a server of which nothing is known votes", text)
		case !n.votes(now.Add(n.c.quarantine() + time.Second)):
			t.Errorf("%q: it never votes", text)
		}
	})
}

// Whatever a mark says, it is read back as it was written, and lets no node vote by clocks that are set.
func FuzzMark_IsReadAsItWasWrittenAndNeverVotesEarly(f *testing.F) {
	f.Add("v2 mem=a state=ripe run=b repl=c sync=1 at=1 tn=2 data=d dat=3 dtn=4 id=a set=x q=2 of=a,b final=1")
	f.Add("v2 mem=a data=d id=c set=x q=2 of=a,b")
	f.Add("v2 mem=a data=d state=ripe id=a set=x q=0 of=a")
	f.Add("v2 mem=a data=b at=-9223372036854775808 tn=9223372036854775807")
	f.Add("founded a b c")
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := parseMark(text)
		if !ok {
			return
		}
		if again, ok := parseMark(m.String()); !ok || again != m {
			t.Errorf("%q is read as %+v, and that as %+v", text, m, again)
		}
		if age := m.begun.age(stamp{}); age < 0 {
			t.Errorf("%q: its age is %v", text, age)
		}
	})
}

// Whatever stands in a URL beside and within a password, the password is neither in the error nor in the node's name.
func FuzzURL_ShowsNoPassword(f *testing.F) {
	const head, tail = "hunter", "sesame"
	forms := []string{
		"%s://%s:%s@%s%s", "%s://%s:%[3]s%[4]s%[5]s", "%s:%s:%s@%s%s", "%s%s:%s@%s%s",
		"%s://%s@%[4]s?password=%[3]s%[5]s", "%s://%s@%[4]s%[5]s&sentinel_password=%[3]s", "%s://%s@%[4]s?master_name=m&sentinel_username=u&sentinel_password=%[3]s%[5]s",
		"%s://%s:%s@%s?addr=i:2%s", "%s://%s:%s@%s?master_name=m%s",
	}
	for i := range forms {
		for _, middle := range []string{"", "/", "?", "#", "@", "%", "%zz", ":", "&", "=", ";", " ", "[", "]", "\\", "\x00", "\n", "é", "%2F", "?db=", "%23", "+"} {
			f.Add(uint8(i), "redis", "me", middle, "host:6379", "")
			f.Add(uint8(i), "rediss", "", middle, "h", "/1?db=2")
			f.Add(uint8(i), "unix", "me", middle, "/run/redis.sock", "?db=x")
			f.Add(uint8(i), "", "", middle, "[::1]:1", "?nonsense=1")
		}
	}
	f.Fuzz(func(t *testing.T, form uint8, scheme, user, middle, host, rest string) {
		for _, s := range []string{scheme, user, middle, host, rest} {
			if strings.Contains(s, head) || strings.Contains(s, tail) {
				t.Skip("not only in the password")
			}
		}
		i := int(form) % len(forms)
		raw := fmt.Sprintf(forms[i], scheme, user, head+middle+tail, host, rest)
		if i == 1 && !strings.Contains(host+rest, "@") {
			t.Skip("without an @ it is no password")
		}
		all, err := Config{URLs: []string{raw}}.targets()
		if (err == nil) != (len(all) == 1) || err != nil && !errors.Is(err, ErrConfig) {
			t.Fatalf("%q: %d targets, %v", raw, len(all), err)
		}
		said := fmt.Sprint(err)
		for _, target := range all {
			said += target.name
		}
		if strings.Contains(said, head) || strings.Contains(said, tail) {
			t.Errorf("%q is repeated by %q", raw, said)
		}
	})
}

// A URL of any bytes is a node or an error.
func FuzzURL_OfAnyBytesIsANodeOrAnError(f *testing.F) {
	for _, raw := range []string{
		"", "redis://", "redis://h:6379/0", "redis://[::1]:1", "redis://[::1", "redis://h:99999999", "redis://h:-1", "redis://h/-1", "redis://h?db=9999999999999999999",
		"rediss://h?skip_verify=x", "unix://", "unix:///", "unix:x", "redis:h:1", "redis:///", "redis://h?addr=", "redis://h?addr=:&addr=", "redis://?master_name=",
		"redis://h?master_name=m&db=x", "REDIS://h", "redis://h?protocol=9", "redis://h?read_timeout=-1&write_timeout=1h", "redis://%00", "redis://h?%zz", "//h", "h:1",
	} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		all, err := Config{URLs: []string{raw}}.targets()
		if (err == nil) != (len(all) == 1) || err != nil && !errors.Is(err, ErrConfig) {
			t.Fatalf("%q: %d targets, %v", raw, len(all), err)
		}
		for _, target := range all {
			if target.name == "" {
				t.Errorf("%q makes a node without a name", raw)
			}
			target.open(tuning{timeout: time.Second}).Close()
		}
	})
}
