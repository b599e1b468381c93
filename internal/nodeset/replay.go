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
// a node that has lost its locks. So a server that has restarted is asked what that
// user may run: unless that is all that locks need, the node does not vote for a
// quarantine, and where it is less, its records count as forgotten.

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
	{"hdel", "any key", ""},
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

// askReplay asks a server whether it executed all of its append-only file, if it
// has restarted since the mark that is on it was written.
func (f *facts) askReplay(ctx context.Context, via redis.Cmdable, text string) error {
	m, ok := parseMark(text)
	switch {
	case !ok || m.run == "" || m.run == f.runID || !f.aof:
		return nil
	case f.keepsTransactions():
		f.whole = true
		return nil
	}
	var replies []*redis.Cmd
	_, _ = via.Pipelined(ctx, func(p redis.Pipeliner) error {
		replies = replayQuestions(ctx, p)
		return nil
	})
	switch denied, err := replayDenied(replies); {
	case err == nil:
		f.whole, f.drops = len(denied) == 0, len(denied) > 0
	case !answered(err), saidBy(err, "BUSY"), saidBy(err, "LOADING"): // it is asked again
		return err
	}
	return nil
}
