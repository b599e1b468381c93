package mutex

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// Redsync returns a *redsync.Redsync over the nodes of c, for code that uses
// redsync. Its mutexes and the locks of this module exclude each other if the
// redsync name is the prefix and the key together ("lock:order:42"). So do
// mutexes of an unmodified redsync on the same nodes.
//
// Acquisitions through Redsync raise the fence counters, so tokens of later
// holders are larger, and releases notify the waiters of this module. The
// mutexes themselves have no token, and nothing renews them. A node that may
// have lost the locks it granted does not vote for them, even if
// redsync.WithSetNXOnExtend lets Extend set a key that is gone. An expiry must
// be between 10 ms and [cluster.Config.MaxTTL].
//
// Values must be unique for each attempt, as those of redsync are, because a
// release that a node did not answer is sent again later.
func Redsync(c *cluster.Cluster) *redsync.Redsync {
	set := face.In(c)
	if set == nil {
		return redsync.New(noPool{})
	}
	var pools []redsyncredis.Pool
	for _, n := range set.Nodes() {
		pools = append(pools, redsyncPool{quorumlock.NewOneNode(set, n)})
	}
	return redsync.New(pools...)
}

// noPool stands for the nodes of a nil Cluster. It returns an error.
type noPool struct{}

func (noPool) Get(context.Context) (redsyncredis.Conn, error) {
	return nil, (*nodeset.Set)(nil).Err()
}

// redsyncPool is one node.
type redsyncPool struct{ node *quorumlock.OneNode }

func (p redsyncPool) Get(ctx context.Context) (redsyncredis.Conn, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	return redsyncConn{p.node, ctx}, nil
}

// redsyncConn sends commands to one node until ctx ends.
type redsyncConn struct {
	node *quorumlock.OneNode
	ctx  context.Context
}

var (
	getScript  = nodeset.NewScript("get", `return redis.call('GET', KEYS[1])`)
	setScript  = nodeset.NewScript("set", `return redis.call('SET', KEYS[1], ARGV[1])`)
	pttlScript = nodeset.NewScript("pttl", `return redis.call('PTTL', KEYS[1])`)
)

func (cn redsyncConn) Get(name string) (string, error) {
	reply, err := cn.node.Run(cn.ctx, getScript, []string{name})
	value, _ := reply.(string)
	return value, err
}

func (cn redsyncConn) Set(name, value string) (bool, error) {
	reply, err := cn.node.Run(cn.ctx, setScript, []string{name}, value)
	return reply == "OK", err
}

func (cn redsyncConn) PTTL(name string) (time.Duration, error) {
	reply, err := cn.node.Run(cn.ctx, pttlScript, []string{name})
	ms, _ := reply.(int64)
	return time.Duration(ms) * time.Millisecond, err
}

// SetNX acquires the key: redsync calls it for that.
func (cn redsyncConn) SetNX(name, value string, expiry time.Duration) (bool, error) {
	if err := cn.node.CheckTTL("redsync.WithExpiry", expiry); err != nil {
		return false, err
	}
	return cn.node.Acquire(cn.ctx, name, value, expiry)
}

// Eval runs redsync's scripts. The one that deletes is replaced by a release,
// which does the same and notifies waiters.
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
	switch {
	case deletes(script) && len(keys) == 1 && len(args) == 1:
		return cn.release(keys[0], args[0])
	case extends(script):
		return touched(cn.node.Touch(cn.ctx, foreign(script), keys, args...))
	}
	return cn.node.Run(cn.ctx, foreign(script), keys, args...)
}

func deletes(s *redsyncredis.Script) bool { return strings.Contains(s.Src, `"DEL"`) }
func extends(s *redsyncredis.Script) bool { return strings.Contains(s.Src, `"PEXPIRE"`) }

// release returns what redsync's script that deletes would return: 1 where the
// key was deleted, 0 where it is another's, and -1 where it has expired.
func (cn redsyncConn) release(name string, value any) (any, error) {
	text, ok := value.(string)
	if !ok {
		return nil, fmt.Errorf("redlock: redsync value that is a %T", value)
	}
	found, err := cn.node.Release(cn.ctx, name, text)
	switch {
	case err != nil:
		return nil, err
	case found == quorumlock.FoundOurs:
		return int64(1), nil
	case found == quorumlock.FoundNothing:
		return int64(-1), nil
	}
	return int64(0), nil
}

// touched returns what redsync's scripts that extend return.
func touched(ours bool, err error) (any, error) {
	switch {
	case err != nil:
		return nil, err
	case ours:
		return int64(1), nil
	}
	return int64(0), nil
}

var foreignScripts sync.Map // redsync's source to *nodeset.Script

func foreign(s *redsyncredis.Script) *nodeset.Script {
	if known, ok := foreignScripts.Load(s.Src); ok {
		return known.(*nodeset.Script)
	}
	known, _ := foreignScripts.LoadOrStore(s.Src, nodeset.NewScript("redsync", s.Src))
	return known.(*nodeset.Script)
}

// ScriptLoad does nothing: a script is sent to a node that lacks it.
func (cn redsyncConn) ScriptLoad(*redsyncredis.Script) error { return nil }

// Close does nothing: the Cluster owns the connections.
func (cn redsyncConn) Close() error { return nil }
