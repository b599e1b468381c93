package cluster

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// facts is what a server says of itself on a new connection.
type facts struct {
	runID       string        // "" where the server does not say
	uptime      time.Duration // whole seconds
	now         time.Time     // the server's clock, TIME
	still       bool          // that clock does not move
	replica     bool
	sentinel    bool   // not a node, but one of those who say where it is
	loading     bool   // reads its files, and does not say meanwhile that it keeps an append-only file
	aof         bool   // keeps an append-only file
	fsync       string // when it syncs it: "always", "everysec" or "no"; "" where it does not say
	fsyncAlways bool   // it syncs it before it answers, at all times
	fsyncPauses bool   // it does not sync it while it rewrites it
	fsyncHidden bool   // does not say whether it does
	version     string // "" where the server does not say
	name        string // of the program, as "valkey"; "" where it does not say, as Redis
	evicts      string // the eviction policy, "" where the server does not say
}

// uptimeError is by how much less than what a server says it may have run, or more: it subtracts whole seconds, the later of
// which it read up to a tenth of a second ago.
const uptimeError = 1100 * time.Millisecond

// boot is when the server process started, by its own clock, to the second.
func (f facts) boot() time.Time { return f.now.Add(-f.uptime) }

// errReplica is why a replica is never connected to: it refuses writes, and what it holds may roll back.
var errReplica = errors.New("is a replica (role:slave); list the independent masters")

// errSentinel is why a Sentinel that is listed as a node is not used.
var errSentinel = errors.New("is a Sentinel, which holds no keys; list the servers, or redis://?master_name=NAME&addr=host:port for the master it knows")

// oldVersionError refuses a server that lacks what the scripts need.
type oldVersionError struct{ version string }

func (e *oldVersionError) Error() string {
	return "runs Redis " + e.version + "; upgrade it to Redis 6.2 or later, or to Valkey"
}

// errLoading is why a server is not connected to yet: it does nothing, and says of itself what is not so.
var errLoading = errors.New("is loading its data")

// asker is the part of a connection or client that askFacts needs.
type asker interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// askFacts asks in one round trip. A server that refuses INFO, TIME or CONFIG (a restricted user, a managed service)
// leaves those facts empty; only a connection that does not work is an error.
func askFacts(ctx context.Context, cn asker) (facts, error) {
	var info *redis.Cmd
	var first, second *redis.TimeCmd
	var config *redis.MapStringStringCmd
	_, err := cn.Pipelined(ctx, func(p redis.Pipeliner) error {
		first = p.Time(ctx)
		info = p.Do(ctx, "info")
		config = p.ConfigGet(ctx, "*appendfsync*")
		second = p.Time(ctx)
		return nil
	})
	if err != nil && !answered(err) {
		return facts{}, err
	}
	text, _ := info.Text()
	f := parseInfo(text)
	if f.now, err = second.Result(); err != nil {
		f.runID = "" // without the server's clock its uptime says nothing
	} else if f.now.Equal(first.Val()) {
		if f.still, err = standsStill(ctx, cn, f.now); err != nil {
			return facts{}, err
		}
	}
	f.fsyncHidden = f.aof && config.Err() != nil
	f.fsync = config.Val()["appendfsync"]
	f.fsyncPauses = f.aof && config.Val()["no-appendfsync-on-rewrite"] == "yes"
	f.fsyncAlways = f.aof && f.fsync == "always" && !f.fsyncPauses
	return f, nil
}

// clockLooks is how many more times a clock is read that showed the same time twice.
const clockLooks = 3

// standsStill reports whether the server's clock shows the same time as before in further round trips.
func standsStill(ctx context.Context, cn asker, before time.Time) (bool, error) {
	for range clockLooks {
		var now *redis.TimeCmd
		_, err := cn.Pipelined(ctx, func(p redis.Pipeliner) error { now = p.Time(ctx); return nil })
		if err != nil && !answered(err) {
			return false, err
		}
		if !now.Val().Equal(before) {
			return false, nil
		}
	}
	return true, nil
}

// parseInfo reads the lines of INFO this package uses. What is missing or malformed stays empty.
func parseInfo(text string) facts {
	var f facts
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		switch key {
		case "run_id":
			f.runID = value
		case "uptime_in_seconds":
			if s, err := strconv.ParseInt(value, 10, 32); err == nil && s >= 0 {
				f.uptime = time.Duration(s) * time.Second
			}
		case "redis_mode", "server_mode", "redict_mode":
			f.sentinel = f.sentinel || value == "sentinel"
		case "role":
			f.replica = value == "slave"
		case "loading":
			f.loading = value == "1"
		case "aof_enabled":
			f.aof = value == "1"
		case "redis_version":
			f.version = cmp.Or(f.version, value)
		case "valkey_version", "redict_version": // beside the version of Redis that it is compatible with
			f.version, f.name = value, cmp.Or(f.name, strings.TrimSuffix(key, "_version"))
		case "server_name":
			f.name = value
		case "maxmemory_policy":
			f.evicts = value
		}
	}
	return f
}

// observe runs on every new connection to a node, before the first command: a grant of a restarted server can never
// arrive before its restart is known.
func (n *Node) observe(ctx context.Context, cn *redis.Conn) error {
	before := time.Now()
	f, err := askFacts(ctx, cn)
	if err != nil {
		return err
	}
	switch {
	case f.sentinel && n.stands: // of those that say where the node is
		return nil
	case f.sentinel:
		return errSentinel
	case f.name == "" && f.version != "" && !atLeast(f.version, 6, 2):
		return &oldVersionError{f.version}
	case f.replica:
		return errReplica
	case f.loading:
		return errLoading
	}
	// A server that tells nothing of itself may want a password, and closes the connection of who asks for much without.
	unknown := f.runID != "" && !n.knows(f.runID)
	restarted, err := n.learn(f, before, time.Now())
	if err == nil && unknown {
		err = loadScripts(ctx, cn)
	}
	switch {
	case err != nil:
	case !n.many:
		err = n.mark(ctx, cn)
	case unknown && n.met.Load(): // the mark is on one of the servers, and may have been on the one that this one follows
		n.c.spawn(func() { _ = n.probe(n.c.ctx) })
	}
	if restarted {
		n.tel.Restarted()
		n.c.sayOf(n, slog.LevelWarn, "node restarted; it may have forgotten locks, so its vote does not count for a while",
			"for", n.c.cfg.MaxTTL)
		n.c.weigh()
	}
	n.sayClock()
	if err != nil && answered(err) {
		return &setupError{err} // no command was sent, and none was answered
	}
	return err
}

// knows reports whether this server was met before.
func (n *Node) knows(runID string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runIDs[runID]
}

// learn works out from f whether the node may have forgotten grants, and until when it therefore does not vote. It
// reports whether a restart that may have forgotten some was seen. A server that is already another node of the set is
// refused.
func (n *Node) learn(f facts, asked, now time.Time) (restarted bool, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.tellLifeLocked()
	before := n.facts
	n.facts, n.offset = f, 0
	if !f.now.IsZero() {
		n.offset = f.now.Sub(asked.Add(now.Sub(asked) / 2))
	}
	if f.runID == "" || n.runIDs[f.runID] {
		return false, nil
	}
	if other := n.c.claim(f.runID, n); other != n {
		return false, &sameServerError{other.name}
	}
	alone := len(n.runIDs) == 0
	first := alone || n.many && !n.met.Load()
	if !n.many {
		for old := range n.runIDs {
			n.c.disclaim(old)
			delete(n.runIDs, old)
		}
	}
	n.runIDs[f.runID] = true
	n.founded.Store(false)
	n.marked, n.markText, n.changed = false, "", n.changed || !first

	// A server that stands in for another has forgotten what the other knew, however old it is itself. Where several
	// servers stand behind one node, one that is first met later on is taken for such a one.
	started, maxTTL := f.boot(), n.c.cfg.MaxTTL
	if !first {
		started = f.now
	}
	born := asked.Add(-f.uptime)
	if !first {
		born = asked
	}
	// The start is known to the second. Every token the server gave before it is below this.
	boot := started.Add(time.Second + maxTTL).UnixMicro()
	if !alone && n.many { // the youngest of the servers counts
		boot = max(boot, n.boot.Load())
		if born.Before(n.born) {
			born = n.born
		}
	}
	n.born = born
	n.boot.Store(boot)

	young := maxTTL + time.Second - f.uptime
	switch {
	// One that syncs since this start may have forgotten before. And what a stand-in was never told it can not have synced.
	case !first && !(f.fsyncAlways && before.fsyncAlways && !n.stands):
		n.quarantine.Store(n.c.since(now) + int64(maxTTL))
		return true, nil
	case first:
		if young > 0 && !f.fsyncAlways {
			n.quarantine.Store(max(n.quarantine.Load(), n.c.since(now)+int64(young)))
		}
		// What votes for others in any case may have granted something before the set is founded. And of a clock that
		// stands still an uptime of 0 shows nothing.
		fresh := young > 0 && !f.fsyncAlways && !f.fsyncHidden && !f.still && (alone || n.fresh.Load())
		n.fresh.Store(fresh)
		if until := asked.Add(young - 2*uptimeError - Margin(maxTTL)); alone || until.Before(n.youngUntil) {
			n.youngUntil = until
		}
		if fresh && !n.many {
			n.c.metYoung(n.youngUntil)
		}
	}
	return false, nil
}

// sameServerError refuses a server that is in the set under another name, or
// that says so. Nobody can tell which of two servers with one run_id has it from
// the other, so neither is blamed: the one that answered first is used.
type sameServerError struct{ other string }

func (e *sameServerError) Error() string {
	return "by its run_id is the same server as node " + e.other + ", which answered first; each must be an independent server, " +
		"and of two that are, one copies the other's run_id"
}

// twins are the names of the nodes that are refused because they answer with the
// run_id of n.
func (n *Node) twins() (names []string) {
	for _, other := range n.c.nodes {
		var same *sameServerError
		if d := other.down.Load(); d != nil && errors.As(d.error(), &same) && same.other == n.name {
			names = append(names, other.name)
		}
	}
	return names
}

// votes reports whether a grant of this node counts at now.
func (n *Node) votes(now time.Time) bool {
	until := n.quarantine.Load()
	return until == 0 || n.c.since(now) >= until || n.founded.Load()
}

// BootFloor is the number below which a fence counter of this node may be one that the node forgot to raise: its last
// start plus MaxTTL, in µs of the node's clock. 0 where the node does not tell its uptime.
func (n *Node) BootFloor() int64 { return n.boot.Load() }
