package nodeset

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	fake "github.com/alicebob/miniredis/v2/server"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// impostor is a server that says of itself what a test has it say: INFO as given, with what CONFIG GET tells, and has a clock that may stand still. Of
// the other commands it knows those that are asked while a connection is set up.
type impostor struct {
	*fake.Server
	clock atomic.Int64 // in µs, where it stands still; 0: it moves
	ahead atomic.Int64 // of the real time, a time.Duration, where it moves
}

func impersonate(t *testing.T, info string, config ...string) *impostor {
	t.Helper()
	s, err := fake.NewServer("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	i := &impostor{Server: s}
	on := func(cmd string, fn fake.Cmd) {
		if err := s.Register(cmd, fn); err != nil {
			t.Fatal(err)
		}
	}
	on("INFO", func(c *fake.Peer, _ string, _ []string) { c.WriteBulk(strings.ReplaceAll(info, "\n", "\r\n")) })
	on("PING", func(c *fake.Peer, _ string, _ []string) { c.WriteInline("PONG") })
	var mark atomic.Pointer[string]
	made := marks.New(parseInfo(info).runID, time.Now()) // or Open would wait for processes that knew the node
	mark.Store(&made)
	on("EVAL", func(c *fake.Peer, _ string, args []string) { mark.Store(&args[4]); c.WriteBulk(args[4]) })
	on("GET", func(c *fake.Peer, _ string, _ []string) {
		c.WriteBulk(*mark.Load())
	})
	on("CONFIG", func(c *fake.Peer, _ string, _ []string) {
		c.WriteMapLen(len(config) / 2)
		for _, word := range config {
			c.WriteBulk(word)
		}
	})
	on("TIME", func(c *fake.Peer, _ string, _ []string) {
		now := time.Now().Add(time.Duration(i.ahead.Load()))
		if us := i.clock.Load(); us != 0 {
			now = time.UnixMicro(us)
		}
		c.WriteLen(2)
		c.WriteBulk(strconv.FormatInt(now.Unix(), 10))
		c.WriteBulk(strconv.Itoa(now.Nanosecond() / 1000))
	})
	return i
}

func (i *impostor) url() string { return "redis://" + i.Addr().String() }

// beside opens a set of the impostor and two nodes that are well.
func (i *impostor) beside(t *testing.T) *Set {
	t.Helper()
	return mustOpen(t, Config{URLs: append([]string{i.url()}, harness.Embedded(t, 2).URLs()...)})
}

func TestCheck_SaysWhatAServerThatCannotHoldLocksNeeds(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ info, want string }{
		"a Sentinel of Redis":  {"redis_version:7.2.1\nredis_mode:sentinel\nrun_id:a\n", "is a Sentinel"},
		"a Sentinel of Valkey": {"redis_version:7.2.4\nserver_name:valkey\nserver_mode:sentinel\nrun_id:a\n", "is a Sentinel"},
		"a Sentinel of Redict": {"redis_version:7.2.4\nredict_version:7.3.0\nredict_mode:sentinel\nrun_id:a\n", "is a Sentinel"},
		"Redis 6.0":            {"redis_version:6.0.16\nredis_mode:standalone\nrun_id:a\n", "upgrade it to Redis 6.2 or later, or to Valkey"},
	} {
		t.Run(name, func(t *testing.T) {
			c := impersonate(t, tt.info).beside(t)
			if st := c.Status()[0]; st.Up || st.Err == nil || !strings.Contains(st.Err.Error(), tt.want) {
				t.Errorf("status %+v, want it down: %s", st, tt.want)
			}
			if got := findings(c.Check(t.Context())); !strings.Contains(got, "danger: node "+c.Nodes()[0].Name()+": cannot be used") || !strings.Contains(got, tt.want) {
				t.Errorf("Check says\n%s", got)
			}
		})
	}
}

func TestInfo_NamesServersOtherThanRedis(t *testing.T) {
	for info, want := range map[string]facts{
		"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n": {version: "8.0.1", name: "valkey"},
		"valkey_version:8.0.1\r\nredis_version:7.2.4\r\n":                       {version: "8.0.1", name: "valkey"},
		"redis_version:7.2.4\r\nredict_version:7.3.0\r\n":                       {version: "7.3.0", name: "redict"},
		"redis_version:7.0.15\r\n":                                              {version: "7.0.15"},
	} {
		if got := parseInfo(info); got != want {
			t.Errorf("of %q it made %+v, want %+v", info, got, want)
		}
	}
}

func TestCheck_AClockThatStandsStillIsADanger(t *testing.T) {
	t.Parallel()
	i := impersonate(t, "redis_version:8.1.1\nvalkey_version:8.1.1\nserver_name:valkey\nrun_id:a\nuptime_in_seconds:0\n")
	i.clock.Store(time.Now().UnixMicro())
	c := i.beside(t)
	n := c.Nodes()[0]
	if got := findings(c.Check(t.Context())); !strings.Contains(got, "danger: node "+n.Name()+": its clock stands still") {
		t.Errorf("Check says\n%s", got)
	}
	for _, f := range c.Check(t.Context()) {
		if f.Node != n.Name() && strings.Contains(f.Text, "stands still") {
			t.Errorf("of a clock that moves Check says %s", f)
		}
	}
}

// A grant counts up to MaxFenceLead and MaxTTL ahead of this machine's clock.
func TestCheck_AClockAheadIsADangerBeyondABound(t *testing.T) {
	t.Parallel()
	const maxTTL = time.Hour
	for _, tt := range []struct {
		ahead time.Duration
		want  string
	}{
		{0, ""},
		{MaxFenceLead - maxTTL/2, "warning: node %: its clock is 23h"},
		{MaxFenceLead + maxTTL/2, "warning: node %: its clock is 24h"},
		{MaxFenceLead + maxTTL + maxTTL/2, "danger: node %: its clock is 25h"},
		{-MaxFenceLead - maxTTL - maxTTL/2, "warning: node %: its clock is -25h"},
	} {
		i := impersonate(t, "redis_version:7.2.0\nrun_id:a\nuptime_in_seconds:100000\n")
		i.ahead.Store(int64(tt.ahead))
		c := mustOpen(t, Config{URLs: append([]string{i.url()}, harness.Embedded(t, 2).URLs()...), MaxTTL: maxTTL})
		got, want := findings(c.Check(t.Context())), strings.ReplaceAll(tt.want, "%", c.Nodes()[0].Name())
		if !strings.Contains(got, want) || strings.Contains(got, "its clock") != (want != "") {
			t.Errorf("of a clock %v ahead Check says\n%s", tt.ahead, got)
		}
	}
}

// Which of two servers that answer with one run_id is met first is chance, so the honest one may be refused: both are named.
func TestCheck_ACopiedRunIDIsBlamedOnNeitherServer(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 2)
	info, err := harness.Client(t, s, 0).Info(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	i := impersonate(t, "redis_version:7.2.0\nrun_id:"+parseInfo(info).runID+"\nuptime_in_seconds:100000\n")
	c := mustOpen(t, Config{URLs: append([]string{i.url()}, s.URLs()...)})
	liar, honest := c.Nodes()[0], c.Nodes()[1]
	used, refused := liar, honest
	if honest.down.Load() == nil {
		used, refused = honest, liar
	}
	if st := c.Status()[refused.Index()]; st.Up || !strings.Contains(st.Err.Error(), "same server as node "+used.Name()+", which answered first") ||
		!strings.Contains(st.Err.Error(), "one copies the other's run_id") {
		t.Errorf("of the node that is not used the status is %+v", st)
	}
	got := findings(c.Check(t.Context()))
	for _, want := range []string{"danger: node " + refused.Name() + ": cannot be used: by its run_id is the same server as node " + used.Name(),
		"danger: node " + used.Name() + ": answers with the same run_id as node " + refused.Name()} {
		if !strings.Contains(got, want) {
			t.Errorf("Check does not say %q, but\n%s", want, got)
		}
	}
	if strings.Count(got, "same run_id") != 1 {
		t.Errorf("Check blames a third node:\n%s", got)
	}
}

func TestCheck_SyncingThatPausesIsNotAlways(t *testing.T) {
	t.Parallel()
	for pauses, want := range map[string]bool{"no": true, "yes": false} {
		i := impersonate(t, "redis_version:7.2.0\nrun_id:a\naof_enabled:1\n", "appendfsync", "always", "no-appendfsync-on-rewrite", pauses)
		c := i.beside(t)
		if f := c.Nodes()[0].facts; f.fsyncAlways != want || f.fsync != "always" {
			t.Errorf("of a server with no-appendfsync-on-rewrite %s it is known that it %+v", pauses, f)
		}
		if got := findings(c.Check(t.Context())); strings.Contains(got, "CONFIG SET no-appendfsync-on-rewrite no") == want {
			t.Errorf("of a server with no-appendfsync-on-rewrite %s Check says\n%s", pauses, got)
		}
	}
}

func TestInfo_ARealServerReportsWhetherItsSyncingPauses(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{Persist: true, Args: []string{"--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"}})
	if f, err := askFacts(t.Context(), harness.Client(t, s, 0)); err != nil || f.fsyncAlways || !f.fsyncPauses {
		t.Errorf("a real server says of itself %+v, %v", f, err)
	}
}
