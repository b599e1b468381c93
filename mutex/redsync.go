package mutex

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/errs"
)

// Redsync returns a *redsync.Redsync over the nodes of c, for code that already uses it. Its mutexes and the locks of
// these packages exclude each other where the redsync name is the prefix and the key together ("lock:order:42"); so do
// mutexes of an unmodified redsync on the same nodes. Through Redsync their acquisitions raise the fence counters, so
// that tokens of later holders are larger, and their releases wake who waits here. They are given no token themselves,
// nothing renews them, and a node that may have forgotten grants does not vote for them either, also where
// redsync.WithSetNXOnExtend has Extend take a key that is gone. Values must differ from attempt to attempt, as redsync's
// own do: a release that a node refused is sent again later.
func Redsync(c *cluster.Cluster) *redsync.Redsync {
	if c == nil {
		return redsync.New(noPool{})
	}
	pools := make([]redsyncredis.Pool, len(c.Nodes()))
	for i, n := range c.Nodes() {
		pools[i] = newRedsyncPool(c, n)
	}
	return redsync.New(pools...)
}

// noPool stands for the nodes of a nil Cluster.
type noPool struct{}

func (noPool) Get(context.Context) (redsyncredis.Conn, error) {
	return nil, (*cluster.Cluster)(nil).Err()
}

type redsyncPool struct {
	c       *cluster.Cluster
	n       *cluster.Node
	flights *inFlightAcquires
}

func newRedsyncPool(c *cluster.Cluster, n *cluster.Node) redsyncPool {
	return redsyncPool{c, n, &inFlightAcquires{byValue: map[[2]string]*inFlightAcquire{}}}
}

func (p redsyncPool) Get(ctx context.Context) (redsyncredis.Conn, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	return redsyncConn{p, ctx}, nil
}

// redsyncConn speaks to one node through its stream.
type redsyncConn struct {
	redsyncPool
	ctx context.Context
}

// run sends a script and waits for its answer.
func (cn redsyncConn) run(s *cluster.Script, keys []string, args ...any) (reply any, err error) {
	reply, _, err = cn.vote(s, keys, args...)
	return reply, err
}

// vote is run that says whether the answer counts as the node's vote.
func (cn redsyncConn) vote(s *cluster.Script, keys []string, args ...any) (reply any, counts bool, err error) {
	if cn.ctx.Err() != nil {
		return nil, false, errs.Ended(cn.ctx)
	}
	a := make(oneAnswer, 1)
	cn.n.Run(s, keys, args, a)
	return cn.await(a)
}

func (cn redsyncConn) await(a oneAnswer) (reply any, counts bool, err error) {
	select {
	case got := <-a:
		if errors.Is(got.err, redis.Nil) {
			return nil, got.counts, nil
		}
		return got.reply, got.counts, got.err
	case <-cn.ctx.Done():
		return nil, false, errs.Ended(cn.ctx)
	}
}

// oneAnswer receives one answer.
type oneAnswer chan struct {
	reply  any
	err    error
	counts bool // as the node's vote
}

func (a oneAnswer) Receive(n *cluster.Node, reply any, err error) {
	a <- struct {
		reply  any
		err    error
		counts bool
	}{reply, err, n.Counts()}
}

var (
	getScript  = cluster.NewScript("get", `return redis.call('GET', KEYS[1])`)
	setScript  = cluster.NewScript("set", `return redis.call('SET', KEYS[1], ARGV[1])`)
	pttlScript = cluster.NewScript("pttl", `return redis.call('PTTL', KEYS[1])`)
)

func (cn redsyncConn) Get(name string) (string, error) {
	reply, err := cn.run(getScript, []string{name})
	value, _ := reply.(string)
	return value, err
}

func (cn redsyncConn) Set(name, value string) (bool, error) {
	reply, err := cn.run(setScript, []string{name}, value)
	return reply == "OK", err
}

func (cn redsyncConn) PTTL(name string) (time.Duration, error) {
	reply, err := cn.run(pttlScript, []string{name})
	ms, _ := reply.(int64)
	return time.Duration(ms) * time.Millisecond, err
}

// inFlightAcquires are the acquires of redsync whose answers one node owes. redsync releases without waiting for them
// when its context has ended, and it tries no second time where a release fails; what it leaves behind so is released
// here.
type inFlightAcquires struct {
	mu      sync.Mutex
	byValue map[[2]string]*inFlightAcquire // by name and value
}

// inFlightAcquire is one acquire on its way; it receives the answer.
type inFlightAcquire struct {
	oneAnswer
	redsyncPool
	name, value string
	expiry      time.Duration
	released    bool // guarded by flights.mu
}

func (f *inFlightAcquire) begin() {
	f.flights.mu.Lock()
	defer f.flights.mu.Unlock()
	f.flights.byValue[[2]string{f.name, f.value}] = f
}

// Receive lets nothing stay that redsync knows nothing of: what was granted after it released, or, it may be, is yet to
// be executed.
func (f *inFlightAcquire) Receive(n *cluster.Node, reply any, err error) {
	f.flights.mu.Lock()
	released, id := f.released, [2]string{f.name, f.value}
	if f.flights.byValue[id] == f {
		delete(f.flights.byValue, id)
	}
	f.flights.mu.Unlock()
	switch {
	case err != nil && !cluster.Unsent(err):
		f.owe(f.name, f.value, time.Time{})
	case err == nil && released:
		f.owe(f.name, f.value, time.Now().Add(f.expiry))
	}
	f.oneAnswer.Receive(n, reply, err)
}

// SetNX is how redsync acquires.
func (cn redsyncConn) SetNX(name, value string, expiry time.Duration) (bool, error) {
	keys, maxTTL := namesOf(name), cn.c.Config().MaxTTL
	if err := checkTTL("redsync.WithExpiry", expiry, maxTTL); err != nil {
		return false, err
	}
	if cn.ctx.Err() != nil {
		return false, errs.Ended(cn.ctx)
	}
	f := &inFlightAcquire{oneAnswer: make(oneAnswer, 1), redsyncPool: cn.redsyncPool, name: name, value: value, expiry: expiry}
	f.begin()
	cn.n.Run(acquireScript, keys[:], []any{value, millis(expiry), 1, time.Now().UnixMicro(), "",
		millis(max(defaultRetention, 2*maxTTL)), millis(maxTTL), cn.n.FenceFloor(), ""}, f)
	reply, counts, err := cn.await(f.oneAnswer)
	granted, _, err := readGrant(reply, err, 1)
	switch {
	case granted && cn.ctx.Err() != nil:
		return false, errs.Ended(cn.ctx)
	case granted && !counts:
		return false, errQuarantine
	}
	return granted, err
}

// Eval runs redsync's scripts: the one that deletes is done by ours, which does the same and wakes.
func (cn redsyncConn) Eval(script *redsyncredis.Script, keysAndArgs ...any) (any, error) {
	keys := make([]string, 0, script.KeyCount)
	for i, k := range keysAndArgs {
		if i == script.KeyCount {
			break
		}
		name, ok := k.(string)
		if !ok {
			return nil, fmt.Errorf("redlock: redsync script with a key that is a %T", k)
		}
		keys = append(keys, name)
	}
	args := keysAndArgs[len(keys):]
	if !deletes(script) || len(keys) != 1 || len(args) != 1 {
		reply, counts, err := cn.vote(foreign(script), keys, args...)
		if extends(script) && err == nil && reply == any(int64(1)) && !counts {
			return nil, errQuarantine
		}
		if extends(script) {
			return readTouch(reply, err)
		}
		return reply, err
	}
	value, ok := args[0].(string)
	if !ok {
		return nil, fmt.Errorf("redlock: redsync value that is a %T", args[0])
	}
	return readUnlock(cn.release(keys[0], value))
}

// readUnlock turns a reply of the release script into redsync's words.
func readUnlock(reply any, err error) (any, error) {
	ours, err := readRelease(reply, err)
	switch {
	case err != nil:
		return nil, err
	case ours:
		return int64(1), nil
	case reply == any(int64(0)):
		return int64(-1), nil // expired
	}
	return int64(0), nil
}

// readTouch reads a reply of redsync's scripts that extend. To redsync whatever is not 0, nil too, means that the key is its
// own.
func readTouch(reply any, err error) (any, error) {
	if err == nil && reply != any(int64(0)) && reply != any(int64(1)) {
		return nil, badReply("extend", reply)
	}
	return reply, err
}

// release is sent also when ctx is dead: redsync cleans up on contexts that are.
func (cn redsyncConn) release(name, value string) (any, error) {
	cn.flights.mu.Lock()
	if f := cn.flights.byValue[[2]string{name, value}]; f != nil {
		f.released = true
	}
	cn.flights.mu.Unlock()
	a := make(oneAnswer, 1)
	cn.n.Send(cn.releaseCommand(name, value), unlocking{a, cn.redsyncPool, name, value})
	reply, _, err := cn.await(a)
	return reply, err
}

// unlocking receives the answer to a release, and sends it again when the node is back if it did not arrive.
type unlocking struct {
	oneAnswer
	redsyncPool
	name, value string
}

func (u unlocking) Receive(n *cluster.Node, reply any, err error) {
	if _, bad := readRelease(reply, err); bad != nil {
		u.owe(u.name, u.value, time.Now().Add(u.c.Config().MaxTTL))
	}
	u.oneAnswer.Receive(n, reply, err)
}

func (p redsyncPool) owe(name, value string, until time.Time) {
	p.n.SendLater(p.releaseCommand(name, value), until)
}

func (p redsyncPool) releaseCommand(name, value string) cluster.Command {
	keys := namesOf(name)
	return releaseOn(p.n, releaseScript.Command(keys[:], value, millis(defaultHandOver), ""))
}

func deletes(s *redsyncredis.Script) bool { return strings.Contains(s.Src, `"DEL"`) }
func extends(s *redsyncredis.Script) bool { return strings.Contains(s.Src, `"PEXPIRE"`) }

var foreignScripts sync.Map // redsync's source to *cluster.Script

func foreign(s *redsyncredis.Script) *cluster.Script {
	if known, ok := foreignScripts.Load(s.Src); ok {
		return known.(*cluster.Script)
	}
	known, _ := foreignScripts.LoadOrStore(s.Src, cluster.NewScript("redsync", s.Src))
	return known.(*cluster.Script)
}

// ScriptLoad has nothing to do: a node that lacks a script is sent it.
func (cn redsyncConn) ScriptLoad(*redsyncredis.Script) error { return nil }

// Close has nothing to do: the connections are the Cluster's.
func (cn redsyncConn) Close() error { return nil }
