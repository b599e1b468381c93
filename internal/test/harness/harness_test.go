package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func TestMain(m *testing.M) { Main(m) }

func TestBackends_AreLogged(t *testing.T) { t.Log(Backends()) }

func TestParse_TakesKnownBackendsOnly(t *testing.T) {
	for _, tc := range []struct {
		value           string
		embedded, redis bool
		fails           bool
	}{
		{value: "", embedded: true, redis: true},
		{value: "embedded", embedded: true},
		{value: "redis", redis: true},
		{value: "embedded, redis", embedded: true, redis: true},
		{value: "embeded", fails: true},
	} {
		c, err := parse(tc.value)
		if (err != nil) != tc.fails || c.embedded != tc.embedded || c.redis != tc.redis || (c.explicit != (tc.value != "") && !tc.fails) {
			t.Errorf("parse(%q) = %+v, %v", tc.value, c, err)
		}
	}
}

func TestDescribe_SaysWhichNodesTestsRunOn(t *testing.T) {
	const server = "redis-server 7.0.15 at /usr/bin/redis-server"
	missing := fmt.Errorf("there is none: %w", redisserver.ErrNotInstalled)
	broken := errors.New("REDLOCK_TEST_SERVER: no such file")
	for _, tc := range []struct {
		value string
		err   error
		want  string
	}{
		{"", nil, "embedded nodes (miniredis) and " + server},
		{"", broken, "tests fail: REDLOCK_TEST_SERVER: no such file"},
		{"embedded", broken, "embedded nodes only: REDLOCK_TEST_BACKENDS=embedded"},
		{"", missing, "embedded nodes only: redis-server is not installed"},
		{"redis", nil, server + " only: REDLOCK_TEST_BACKENDS=redis"},
		{"redis", missing, "tests fail: REDLOCK_TEST_BACKENDS=redis, but there is none: redis-server is not installed"},
		{"embedded", nil, "embedded nodes only: REDLOCK_TEST_BACKENDS=embedded"},
	} {
		c, err := parse(tc.value)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.describe(server, tc.err); got != tc.want {
			t.Errorf("with %q, %v: %q, want %q", tc.value, tc.err, got, tc.want)
		}
	}
}

func field(t *testing.T, c *redis.Client, section, name string) string {
	t.Helper()
	text, err := c.Info(t.Context(), section).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return v
		}
	}
	t.Fatalf("INFO %s has no %s: %q", section, name, text)
	return ""
}

func TestSet_Restart_FromEveryState(t *testing.T) {
	for _, lose := range []bool{false, true} {
		for _, state := range []string{"running", "stopped", "paused"} {
			t.Run(fmt.Sprintf("lose=%t,%s", lose, state), func(t *testing.T) {
				Each(t, 2, func(t *testing.T, s Set) {
					urls := s.URLs()
					before := Client(t, s, 0)
					if err := before.Set(t.Context(), "key", "value", time.Hour).Err(); err != nil {
						t.Fatal(err)
					}
					runID := field(t, before, "server", "run_id")
					switch state {
					case "stopped":
						s.Stop(0)
					case "paused":
						s.Pause(0)
					}
					if err := s.Restart(0, lose); err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(s.URLs(), urls) {
						t.Errorf("URLs = %v after the restart, %v before", s.URLs(), urls)
					}
					want := []string{"key"}
					if lose {
						want = []string{}
					}
					if got := Keys(t, s, 0); !slices.Equal(got, want) {
						t.Errorf("keys = %v, want %v", got, want)
					}
					if got := field(t, Client(t, s, 0), "server", "run_id"); got == runID {
						t.Errorf("the run_id %s is the one from before the restart", got)
					}
				})
			})
		}
	}
}

func TestSet_Stop_RefusesCommands(t *testing.T) {
	Each(t, 2, func(t *testing.T, s Set) {
		s.Stop(1)
		s.Stop(1)
		s.Pause(1)
		s.Resume(1)
		if err := Client(t, s, 1).Ping(t.Context()).Err(); err == nil {
			t.Error("a stopped node answers")
		}
		if err := Client(t, s, 0).Ping(t.Context()).Err(); err != nil {
			t.Errorf("the other node: %v", err)
		}
		if got := s.Commands(1); len(got) != 0 {
			t.Errorf("Commands of a stopped node = %v", got)
		}
	})
}

func TestSet_Pause_ExecutesWhatItTookAfterResume(t *testing.T) {
	Each(t, 1, func(t *testing.T, s Set) {
		c := Client(t, s, 0)
		if err := c.Ping(t.Context()).Err(); err != nil { // connect before the freeze
			t.Fatal(err)
		}
		s.Pause(0)
		s.Pause(0)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if err := c.Set(ctx, "key", "value", 0).Err(); err == nil {
			t.Error("a frozen node answered")
		}
		s.Resume(0)
		s.Resume(0)
		Eventually(t, "the command of the client that gave up is executed", func() bool {
			return c.Get(t.Context(), "key").Val() == "value"
		})
	})
}

// A pipeline of one client is not interleaved with the commands of a later
// client.
func TestSet_Pause_KeepsTheOrderOfPipelines(t *testing.T) {
	Each(t, 1, func(t *testing.T, s Set) {
		const clients, each = 5, 40
		var conns []net.Conn
		for range clients {
			conns = append(conns, dial(t, s.URLs()[0]))
		}
		s.Pause(0)
		for i, conn := range conns {
			var b strings.Builder
			for j := range each {
				value := fmt.Sprintf("%d-%02d", i, j)
				fmt.Fprintf(&b, "*3\r\n$5\r\nRPUSH\r\n$4\r\nlist\r\n$%d\r\n%s\r\n", len(value), value)
			}
			if _, err := conn.Write([]byte(b.String())); err != nil {
				t.Fatal(err)
			}
			_ = conn.Close()
		}
		s.Resume(0)
		c := Client(t, s, 0)
		Eventually(t, "all is executed", func() bool { return c.LLen(t.Context(), "list").Val() == clients*each })
		last := map[byte]string{}
		for _, v := range c.LRange(t.Context(), "list", 0, -1).Val() {
			if v <= last[v[0]] {
				t.Fatalf("%s was executed after %s", v, last[v[0]])
			}
			last[v[0]] = v
		}
	})
}

func dial(t *testing.T, rawURL string) net.Conn {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestSet_Commands_CountsWhatClientsAsked(t *testing.T) {
	Each(t, 1, func(t *testing.T, s Set) {
		if got := s.Commands(0); len(got) != 0 {
			t.Errorf("Commands of a node that was not asked = %v", got)
		}
		c := Client(t, s, 0)
		for range 3 {
			c.Incr(t.Context(), "n")
		}
		c.Eval(t.Context(), "return 1", nil)
		c.ConfigGet(t.Context(), "save")
		want := map[string]int64{"hello": 1, "incr": 3, "eval": 1, "config|get": 1}
		for range 2 { // the first call must not be counted in the second
			if got := s.Commands(0); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("Commands = %v, want %v", got, want)
			}
		}
		if err := s.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		if got := s.Commands(0); len(got) != 0 {
			t.Errorf("Commands after a restart = %v", got)
		}
	})
}

func TestSet_NodesDescribeThemselves(t *testing.T) {
	Each(t, 1, func(t *testing.T, s Set) {
		c := Client(t, s, 0)
		for _, f := range []struct{ section, name, want string }{
			{"replication", "role", "master"}, {"memory", "maxmemory_policy", "noeviction"}, {"persistence", "loading", "0"},
		} {
			if got := field(t, c, f.section, f.name); got != f.want {
				t.Errorf("%s = %q, want %q", f.name, got, f.want)
			}
		}
		// Valkey calls the field server_mode.
		if info := c.Info(t.Context(), "server").Val(); !strings.Contains(info, "redis_mode:standalone") && !strings.Contains(info, "server_mode:standalone") {
			t.Errorf("the mode is not standalone:\n%s", info)
		}
		if id := field(t, c, "server", "run_id"); len(id) != 40 {
			t.Errorf("run_id = %q, want 40 digits", id)
		}
		for _, protocol := range []int{2, 3} {
			o := *c.Options()
			o.Protocol = protocol
			pc := redis.NewClient(&o)
			defer func() { _ = pc.Close() }()
			got, err := pc.ConfigGet(t.Context(), "appendfsync").Result()
			if err != nil || got["appendfsync"] != "everysec" {
				t.Errorf("RESP%d: CONFIG GET appendfsync = %v, %v", protocol, got, err)
			}
		}
	})
}

func TestSet_Close_CanBeCalledTwice(t *testing.T) {
	Each(t, 2, func(t *testing.T, s Set) {
		s.Pause(0)
		s.Stop(1)
		s.Close()
		s.Close()
		if err := s.Restart(0, true); err == nil {
			t.Error("Restart after Close succeeded")
		}
	})
}

func TestChoice_PartsAddUpToTheWhole(t *testing.T) {
	for _, backends := range []string{"embedded,redis", "embedded", "redis"} {
		all, err := parse(backends)
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv(part, "first")
		first := all.each()
		t.Setenv(part, "rest")
		rest := all.each()
		if first.embedded && rest.embedded || first.redis && rest.redis {
			t.Errorf("%s: the parts overlap: %+v, %+v", backends, first, rest)
		}
		if (first.embedded || rest.embedded) != all.embedded || (first.redis || rest.redis) != all.redis {
			t.Errorf("%s: the parts are %+v and %+v", backends, first, rest)
		}
		if !first.embedded && !first.redis {
			t.Errorf("%s: the first part is empty", backends)
		}
	}
}
