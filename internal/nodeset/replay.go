package nodeset

import (
	"context"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Most servers execute their append-only file as the user default when they
// start, and drop from each transaction in it what this user may not run. The
// mark is written without a transaction, so it is kept: it would prove votes of
// a node that has lost its locks. So a node is asked what that user may run, and
// its file counts for nothing while that is not all that locks need, or not known.

// replayed are the writes of locks as the append-only file has them, where an
// expiry is a point in time. The rights to MULTI and EXEC do not matter. The
// prefix of the locks is not known here, so the user has to be allowed to write
// any key; the last two are of the default prefix.
var replayed = [][]any{
	{"set", "any key", ""},
	{"msetnx", "any key", ""},
	{"incrby", "any key", 1},
	{"del", "any key"},
	{"pexpireat", "any key", 1},
	{"zadd", "any key", 1, ""},
	{"zrem", "any key", ""},
	{"hset", "any key", "", ""},
	{"set", "lock:key", ""},
	{"set", "{lock:key}:fence", ""},
}

// keepsTransactions reports whether the server is known to read its append-only
// file whatever the user default may run.
func (f facts) keepsTransactions() bool {
	return f.name == "valkey" && atLeast(f.version, 9, 1, 2)
}

// replayQuestions asks what the user default may run.
func replayQuestions(ctx context.Context, p redis.Pipeliner) (replies []*redis.Cmd) {
	for _, command := range replayed {
		replies = append(replies, p.Do(ctx, append([]any{"acl", "dryrun", "default"}, command...)...))
	}
	return replies
}

// replayDenied are the commands of replayed that the user default may not run,
// by the replies to replayQuestions.
func replayDenied(replies []*redis.Cmd) (denied []string, err error) {
	for i, r := range replies {
		said, err := r.Text()
		if err != nil {
			return nil, err
		}
		if name := strings.ToUpper(replayed[i][0].(string)); said != "OK" && !slices.Contains(denied, name) {
			denied = append(denied, name)
		}
	}
	return denied, nil
}

// replaysAll reports whether a server says that it has after a restart what its
// append-only file had.
func replaysAll(ctx context.Context, cn asker, f facts) bool {
	if !f.aof || f.keepsTransactions() {
		return f.aof
	}
	var replies []*redis.Cmd
	_, _ = cn.Pipelined(ctx, func(p redis.Pipeliner) error {
		replies = replayQuestions(ctx, p)
		return nil
	})
	denied, err := replayDenied(replies)
	return err == nil && len(denied) == 0
}

// asksReplay reports whether it is not known yet of this run of a server whether
// it executes all of its append-only file.
func (n *Node) asksReplay(run string, f facts) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, known := n.replays[run]
	return !known && f.aof && run != "" && !f.keepsTransactions()
}

// replaysRuns is for how many runs of servers it is remembered whether they
// execute all of their append-only file.
const replaysRuns = 64

// tookReplay takes in the replies of a server to replayQuestions. One that did
// not answer is asked again.
func (n *Node) tookReplay(run string, replies []*redis.Cmd) {
	denied, err := replayDenied(replies)
	if err != nil && !answered(err) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.replays == nil || len(n.replays) >= replaysRuns {
		n.replays = map[string]bool{}
	}
	n.replays[run] = err == nil && len(denied) == 0
}

// keepsFilesLocked reports whether the node has after a restart what its
// append-only file had.
func (n *Node) keepsFilesLocked(f facts) bool {
	switch {
	case !f.aof || n.canFailOver:
		return false
	case f.keepsTransactions():
		return true
	case !n.isCluster:
		return n.replays[f.runID]
	}
	for run := range n.runIDs {
		if !n.replays[run] {
			return false
		}
	}
	return true
}
