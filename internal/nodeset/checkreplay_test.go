package nodeset

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	fake "github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// asDefault has a node that syncs each write start with these rules of the user
// default, beside a user who may do everything.
func asDefault(t *testing.T, rules string) harness.Set {
	t.Helper()
	return harness.Real(t, 1, redisserver.Options{Persist: true, Args: append([]string{"--appendfsync", "always", "--user", "admin", "reset", "on", "nopass", "~*", "&*", "+@all",
		"--user", "default", "reset", "on", "nopass"}, strings.Fields(rules)...)})
}

func TestCheck_FindsThatARestartDropsTransactions(t *testing.T) {
	t.Parallel()
	const all = "SET, MSETNX, INCRBY, DEL, PEXPIREAT, ZADD, ZREM, HSET, HDEL"
	s := asDefault(t, "~* &* +@all")
	config := Config{URLs: []string{as(s.URLs()[0], "admin", "x")}}
	c := mustOpen(t, config)
	admin := c.nodes[0].client.(*redis.Client)
	if f, err := askFacts(t.Context(), admin); err != nil || f.keepsTransactions() || !atLeast(f.version, 7, 0) {
		t.Skipf("%s %s keeps transactions, or has no ACL DRYRUN (%v)", f.name, f.version, err)
	}
	for rules, denied := range map[string]string{
		allowDefault: "",
		"ACL SETUSER default reset on nopass ~* +@all":            "",
		"ACL SETUSER default reset off ~* +@write":                "", // the rights to MULTI and EXEC do not matter
		"ACL SETUSER default off":                                 "",
		"ACL SETUSER default off resetkeys -@all":                 all,
		"ACL SETUSER default reset":                               all,
		"ACL SETUSER default reset off +@all":                     all,
		"ACL SETUSER default reset off ~lock:* +@all":             all,
		"ACL SETUSER default reset off ~a* +@all":                 "SET",
		"ACL SETUSER default reset off ~* +@all -zrem":            "ZREM",
		"ACL SETUSER default reset off ~* +@all -pexpireat -hset": "PEXPIREAT, HSET",
	} {
		for _, words := range [][]any{args(allowDefault), args(rules)} {
			if err := admin.Do(t.Context(), words...).Err(); err != nil {
				t.Fatal(err)
			}
		}
		want := ""
		if denied != "" {
			want = "danger: node " + c.nodes[0].name + ": reads its append-only file as the user default, which may not run " + denied + " on every key: a restart drops them from each " +
				"transaction in the file, so locks, fence counters and records are lost or never expire; after a restart, it does not vote until a quarantine is over; " + allowDefault
		}
		got := ""
		for _, f := range c.Check(t.Context()) {
			if f.Node != "" {
				got += f.String()
			}
		}
		if !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("with %s Check says\n%s\nwant\n%s", rules, got, want)
		}
	}
}

// args are the words of a command.
func args(command string) (all []any) {
	for _, word := range strings.Fields(command) {
		all = append(all, word)
	}
	return all
}

// A user that may not ask gets a note where it matters, and the server counts one
// refusal for each question.
func TestCheck_NotesThatACLDryrunIsRefused(t *testing.T) {
	t.Parallel()
	for _, persist := range []bool{true, false} {
		s := harness.Real(t, 1, redisserver.Options{Persist: persist, Args: []string{"--user", "app", "reset", "on", "nopass", "~*", "&*", "+@all", "-acl"}})
		c := mustOpen(t, Config{URLs: []string{as(s.URLs()[0], "app", "x")}})
		if f, err := askFacts(t.Context(), c.nodes[0].client); err != nil || f.keepsTransactions() {
			t.Skipf("%s %s keeps transactions (%v)", f.name, f.version, err)
		}
		got := findings(c.Check(t.Context()))
		want := "note: node " + c.nodes[0].name + ": does not report what its user default may run (ACL DRYRUN: NOPERM"
		if strings.Contains(got, want) != persist || strings.Contains(got, "dryrun") != persist {
			t.Errorf("with an append-only file: %t: Check says\n%s", persist, got)
		}
		stats, err := harness.Client(t, s, 0).Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		if _, line, _ := strings.Cut(stats, "cmdstat_acl|dryrun:"); persist && !strings.Contains(line, fmt.Sprintf("rejected_calls=%d,", len(replayed))) || !persist && line != "" {
			t.Errorf("with an append-only file: %t: the server has counted %q", persist, line)
		}
	}
}

// What is asked, of which servers, and what follows, on a server that says what
// the test has it say. The append-only file of a server that runs has PEXPIREAT.
func TestCheck_AsksWhatTheUserDefaultMayRun(t *testing.T) {
	t.Parallel()
	const redis7, aof, valkey = "redis_version:7.2.0\n", "run_id:a\naof_enabled:1\n", "redis_version:7.2.4\nserver_name:valkey\nvalkey_version:"
	for name, tt := range map[string]struct {
		info, denied string // "*": the question
		want         string
		asked        int64 // negative: any number
	}{
		"all rights":         {redis7 + aof, "", "", 11},
		"no expiry":          {redis7 + aof, "pexpireat", "danger: which may not run PEXPIREAT on every key", 11},
		"no other expiry":    {redis7 + aof, "pexpire", "", 11},
		"a refused question": {redis7 + aof, "*", "note: ACL DRYRUN: NOPERM", 11},
		"no answer":          {redis7 + aof, "hang up", "note: did not report in time", -1},
		"no file":            {redis7 + "run_id:a\naof_enabled:0\n", "pexpireat", "", 0},
		"Valkey 9.1.1":       {valkey + "9.1.1\n" + aof, "pexpireat", "danger: which may not run", 11},
		"Valkey 9.1.2":       {valkey + "9.1.2\n" + aof, "pexpireat", "", 0},
		"Valkey 9.2":         {valkey + "9.2.0\n" + aof, "pexpireat", "", 0},
		"Valkey 8.1":         {valkey + "8.1.3\n" + aof, "pexpireat", "danger: which may not run", 11},
	} {
		i := impersonate(t, tt.info, "appendfsync", "always")
		var asked atomic.Int64
		if err := i.Register("ACL", func(c *fake.Peer, _ string, args []string) {
			switch asked.Add(1); {
			case tt.denied == "*":
				c.WriteError("NOPERM this user has no permissions to run the 'acl|dryrun' command")
			case tt.denied == "hang up":
				c.Close()
			case args[2] == tt.denied:
				c.WriteBulk("User default has no permissions to run the '" + args[2] + "' command")
			default:
				c.WriteOK()
			}
		}); err != nil {
			t.Fatal(err)
		}
		c := i.beside(t)
		if n := asked.Load(); n != 0 {
			t.Errorf("%s: to connect asks %d times", name, n)
		}
		severity, text, _ := strings.Cut(tt.want, ": ")
		said := ""
		for _, f := range c.Check(t.Context()) {
			if strings.Contains(f.Text, "append-only file") {
				said += f.String()
			}
		}
		if !strings.HasPrefix(said, severity) || !strings.Contains(said, text) || tt.want == "" && said != "" || tt.asked >= 0 && asked.Load() != tt.asked {
			t.Errorf("%s: Check asks %d times, and says %q", name, asked.Load(), said)
		}
	}
}

// A server that has restarted since its mark was written is asked whether it
// executed all of its append-only file.
func TestReplay_AServerThatRestartedIsAsked(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		run, version, server string // of the server; the mark is of the run "a"
		answer               string // to a question about PEXPIREAT; "": OK
		whole, drops, fails  bool
		asked                int64
	}{
		"all rights":            {"b", "7.2.0", "", "", true, false, false, 11},
		"no expiry":             {"b", "7.2.0", "", "User default has no permissions", false, true, false, 11},
		"a refused question":    {"b", "7.2.0", "", "-NOPERM", false, false, false, 11},
		"no such command":       {"b", "6.2.0", "", "-ERR unknown subcommand", false, false, false, 11},
		"busy":                  {"b", "7.2.0", "", "-BUSY", false, false, true, 11},
		"it runs on":            {"a", "7.2.0", "", "", false, false, false, 0},
		"it keeps transactions": {"b", "9.1.2", "valkey", "", true, false, false, 0},
	} {
		i := impersonate(t, "run_id:a\n")
		var asked atomic.Int64
		if err := i.Register("ACL", func(c *fake.Peer, _ string, args []string) {
			asked.Add(1)
			switch text, failed := strings.CutPrefix(tt.answer, "-"); {
			case failed:
				c.WriteError(text)
			case tt.answer != "" && args[2] == "pexpireat":
				c.WriteBulk(text)
			default:
				c.WriteOK()
			}
		}); err != nil {
			t.Fatal(err)
		}
		n := i.beside(t).nodes[0]
		f := facts{runID: tt.run, aof: true, version: tt.version, name: tt.server}
		err := f.askReplay(t.Context(), n.client, mark{memory: "m", run: "a", data: "d"}.String())
		if (err != nil) != tt.fails || f.whole != tt.whole || f.drops != tt.drops || asked.Load() != tt.asked {
			t.Errorf("%s: asked %d times: %v, whole %t, drops %t", name, asked.Load(), err, f.whole, f.drops)
		}
	}
}
