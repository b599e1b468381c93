package nodeset

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// facts is what a server says of itself on a new connection.
type facts struct {
	runID       string        // "" where the server does not say
	uptime      time.Duration // whole seconds
	repl        string        // master_replid; "" where the server does not say
	promoted    bool          // it was a replica since it started
	asked       time.Time     // when it was asked
	took        time.Duration // to answer
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
	name        string // of the program, such as "valkey"; "": unknown, or Redis
	evicts      string // the eviction policy, "" where the server does not say
	multi       bool   // it executes a transaction of this user
	whole       bool   // it has restarted, and executed all of its append-only file
	drops       bool   // it has restarted, and not executed all of it
}

// offset is the server's clock minus ours; 0 where it does not tell.
func (f facts) offset() time.Duration {
	if f.now.IsZero() {
		return 0
	}
	return f.now.Sub(f.asked.Add(f.took / 2))
}

// server is what these facts say as far as marks are concerned.
func (f facts) server() server {
	s := server{run: f.runID, repl: f.repl, promoted: f.promoted, files: f.aof, syncs: f.fsyncAlways, whole: f.whole, drops: f.drops, uptime: f.uptime, now: stampAt(time.Now(), f.offset())}
	if f.now.IsZero() {
		s.now.node = 0
	}
	return s
}

// errReplica is why a replica is never used: it refuses writes, and its data
// may roll back.
var errReplica = errors.New("is a replica (role:slave); list the independent masters")

// errSentinel is why a Sentinel that is listed as a node is not used.
var errSentinel = errors.New("is a Sentinel, which holds no keys; list the servers, or redis://?master_name=NAME&addr=host:port for the master it knows")

// oldVersionError refuses a server that lacks what the scripts need.
type oldVersionError struct{ version string }

func (e *oldVersionError) Error() string {
	return "runs Redis " + e.version + "; upgrade it to Redis 6.2 or later, or to Valkey"
}

// errLoading is why a server is not used yet: it executes nothing, and reports
// wrong facts about itself.
var errLoading = errors.New("is loading its data")

// asker is the part of a connection or client that askFacts needs.
type asker interface {
	Pipelined(ctx context.Context, fn func(redis.Pipeliner) error) ([]redis.Cmder, error)
}

// askFacts asks in one round trip. A server that refuses INFO, TIME or CONFIG (a restricted user, a managed service)
// leaves those facts empty; only a connection that does not work is an error.
func askFacts(ctx context.Context, cn asker, more ...func(context.Context, redis.Pipeliner)) (facts, error) {
	var info *redis.Cmd
	var first, second *redis.TimeCmd
	var config *redis.MapStringStringCmd
	var empty *redis.Cmd
	asked := time.Now()
	_, err := cn.Pipelined(ctx, func(p redis.Pipeliner) error {
		first = p.Time(ctx)
		info = p.Do(ctx, "info")
		config = p.ConfigGet(ctx, "*appendfsync*")
		p.Do(ctx, "multi")
		empty = p.Do(ctx, "exec")
		second = p.Time(ctx)
		for _, add := range more {
			add(ctx, p)
		}
		return nil
	})
	if err != nil && !answered(err) {
		return facts{}, err
	}
	text, _ := info.Text()
	f := parseInfo(text)
	f.asked, f.took = asked, time.Since(asked)
	f.multi = empty.Err() == nil
	if f.now, err = second.Result(); err != nil {
		f.runID = "" // without the server's clock the age of its mark is not known
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

// parseInfo reads the lines of INFO that this package uses. What is missing or
// malformed stays empty.
func parseInfo(text string) facts {
	var f facts
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if take := infoLines[key]; take != nil {
			take(&f, value)
		}
	}
	return f
}

// infoLines parse the lines of INFO, by key. Servers that are compatible with a
// version of Redis report their own version as well.
var infoLines = map[string]func(f *facts, value string){
	"run_id": func(f *facts, value string) { f.runID = value },
	"uptime_in_seconds": func(f *facts, value string) {
		if s, err := strconv.ParseInt(value, 10, 32); err == nil && s >= 0 {
			f.uptime = time.Duration(s) * time.Second
		}
	},
	"redis_mode":         takeMode,
	"server_mode":        takeMode,
	"redict_mode":        takeMode,
	"master_replid":      func(f *facts, value string) { f.repl = value },
	"second_repl_offset": func(f *facts, value string) { f.promoted = value != "-1" },
	"role":               func(f *facts, value string) { f.replica = value == "slave" },
	"loading":            func(f *facts, value string) { f.loading = value == "1" },
	"aof_enabled":        func(f *facts, value string) { f.aof = value == "1" },
	"redis_version":      func(f *facts, value string) { f.version = cmp.Or(f.version, value) },
	"valkey_version":     func(f *facts, value string) { f.version, f.name = value, cmp.Or(f.name, "valkey") },
	"redict_version":     func(f *facts, value string) { f.version, f.name = value, cmp.Or(f.name, "redict") },
	"kvrocks_version":    func(f *facts, _ string) { f.name = cmp.Or(f.name, "kvrocks") },
	"dragonfly_version":  func(f *facts, _ string) { f.name = cmp.Or(f.name, "dragonfly") },
	"server_name":        func(f *facts, value string) { f.name = value },
	"maxmemory_policy":   func(f *facts, value string) { f.evicts = value },
}

func takeMode(f *facts, value string) { f.sentinel = f.sentinel || value == "sentinel" }

// observe runs on every new connection to a node, before the first command: a grant of a restarted server can never
// arrive before its restart is known.
func (n *Node) observe(ctx context.Context, cn *redis.Conn) error {
	f, err := askFacts(ctx, cn, n.nameSelf)
	if err != nil {
		return err
	}
	if f.sentinel && n.canFailOver { // of those that say where the node is
		return nil
	}
	if err := f.unfit(); err != nil {
		return err
	}
	// A server that reports nothing about itself may require a password, and
	// close the connection after several commands without one.
	unknown := f.runID != "" && !n.knows(f.runID)
	err = n.learn(f)
	if err == nil && unknown {
		err = loadScripts(ctx, cn)
	}
	switch {
	case err != nil:
	case !n.isCluster:
		err = n.mark(ctx, cn, f)
	case unknown && n.met.Load(): // the mark is on one of the servers, and may have been on the one that this one follows
		n.c.spawn(func() { _ = n.probe(n.c.ctx) })
	}
	n.sayClock()
	if err != nil && answered(err) {
		return &setupError{err} // no command was sent, and none was answered
	}
	return err
}

// unfit is why the server can hold no locks; nil if it can.
func (f facts) unfit() error {
	switch {
	case f.sentinel:
		return errSentinel
	case f.name == "" && f.version != "" && !atLeast(f.version, 6, 2):
		return &oldVersionError{f.version}
	case f.replica:
		return errReplica
	case f.loading:
		return errLoading
	}
	return nil
}

// knows reports whether this server is the node's, as far as was seen last; of a Redis Cluster, one of its servers.
func (n *Node) knows(runID string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runIDs[runID]
}

// runLocked is the run of the node's server, or the runs of the servers of a
// Redis Cluster. It is "" until a server reports one.
func (n *Node) runLocked() string { return strings.Join(slices.Sorted(maps.Keys(n.runIDs)), ",") }

// learn processes what the node's server reports about itself. It refuses a
// server that is already another node of the set.
func (n *Node) learn(f facts) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	defer n.noteIncarnationLocked()
	n.facts, n.offset = f, f.offset()
	n.transacts.Store(!n.isCluster && f.transacts() && !n.untransacted.Load())
	if f.runID == "" || n.runIDs[f.runID] {
		return nil
	}
	if other := n.c.claim(f.runID, n); other != n {
		return &sameServerError{other.name}
	}
	switch {
	case !n.isCluster:
		n.replacedLocked(f.runID)
		clear(n.runIDs)
	case n.met.Load(): // what it has forgotten is known when all of them were met again
		n.unsettled.Store(true)
	}
	n.runIDs[f.runID] = true
	return nil
}

// replaceServers records the current masters of a Redis Cluster, if they report
// them. Former masters no longer belong to the node, because a process that met
// the node later does not know them.
func (n *Node) replaceServers(runs map[string]bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(runs) == 0 {
		return nil
	}
	for run := range runs {
		if other := n.c.claim(run, n); other != n {
			return &sameServerError{other.name}
		}
	}
	for run := range n.runIDs {
		if !runs[run] {
			n.c.disclaim(run, n)
		}
	}
	n.runIDs = runs
	return nil
}

// keptRuns is how many runs are remembered that a node had before.
const keptRuns = 16

// replacedLocked records that another run answers, before the node's runs are
// changed. If an earlier run answers again, it was not restarted: two servers
// share the name. Behind a Sentinel, a master may return after a failover.
func (n *Node) replacedLocked(runID string) {
	if slices.Contains(n.earlier, runID) && !n.canFailOver {
		n.shared.Store(n.c.since(time.Now()))
		n.c.sayOf(n, slog.LevelError, "several servers answer alternately under the name of this node")
	}
	for run := range n.runIDs {
		n.c.disclaim(run, n)
		n.earlier = append(n.earlier, run)
		n.turns.Add(1)
	}
	n.earlier = n.earlier[max(0, len(n.earlier)-keptRuns):]
}

// sameServerError refuses a server that is in the set under another name, or
// that reports so. It is unknown which of two servers with one run_id copied
// it, so neither is blamed: the one that answered first is used.
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

// votesFrom is the c.since time from which a grant of this node counts, as far
// as is known: its memory is old enough, no other record has recently come into
// force, and no servers have answered alternately. math.MaxInt64: not before
// something changes.
func (n *Node) votesFrom() int64 {
	e := n.evidence.Load()
	if e == nil || !n.member.Load() || n.unsettled.Load() {
		return math.MaxInt64
	}
	return max(e.ripe, n.c.changed.Load(), n.turnsUntil())
}

// turnsUntil is the c.since time until which a node counts as several servers
// that answer alternately.
func (n *Node) turnsUntil() int64 {
	at := n.shared.Load()
	if at == 0 {
		return math.MinInt64
	}
	return at + int64(2*n.c.quarantine())
}

// alternates reports whether servers have recently answered alternately.
func (n *Node) alternates(now time.Time) bool { return n.c.since(now) < n.turnsUntil() }

// votes reports whether, as far as is known, a grant of this node counts at now.
func (n *Node) votes(now time.Time) bool { return n.c.since(now) >= n.votesFrom() }

// quarantined is how long it is until the node votes, if that is all it lacks.
func (n *Node) quarantined(now time.Time) time.Duration {
	from := n.votesFrom()
	if from == math.MaxInt64 {
		e := n.evidence.Load()
		switch {
		case e == nil:
			return 0
		case !e.mark.final || n.unsettled.Load():
			return n.c.quarantine() // at most, if the set is bootstrapped meanwhile, or the cluster marked
		}
		from = max(e.ripe, n.turnsUntil()) // once a quorum shows that the node is of this set
	}
	since := n.c.since(now)
	return time.Duration(max(from, since) - since)
}

// FenceFloor is the number below which a fence counter of this node may have
// lost raises: the start of its memory plus MaxTTL, in µs of the node's clock.
// 0 if the node does not report its time.
func (n *Node) FenceFloor() int64 { return n.fenceFloor.Load() }
