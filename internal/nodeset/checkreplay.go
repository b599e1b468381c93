package nodeset

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Most servers execute their append-only file as the user default when they
// start, and drop from each transaction in it what this user may not run. The
// mark is written without a transaction, so it is kept.

// replayed are the writes of locks as the append-only file has them, where an
// expiry is a point in time. The rights to MULTI and EXEC do not matter. Check
// does not know the prefix of the locks, so the user has to be allowed to write
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

// allowDefault gives the user default all rights, and lets nobody be this user.
const allowDefault = "ACL SETUSER default reset off ~* &* +@all"

// checkReplay looks whether a restart drops transactions from the append-only file.
func (n *Node) checkReplay(ctx context.Context, found *nodeFindings, f facts) {
	if !f.aof || f.keepsTransactions() {
		return
	}
	denied, err := n.deniedDefault(ctx)
	switch {
	case err != nil && !answered(err):
		found.add(RunbookDown, Note, "did not report in time what its user default may run, so it is unknown whether a restart drops locks from its append-only file: "+err.Error(),
			"run redlock doctor again")
	case err != nil:
		found.add(RunbookRights, Note, "does not report what its user default may run (ACL DRYRUN: "+err.Error()+"), so it is unknown whether a restart drops locks from its append-only file",
			"allow it to the user of redlock doctor: +acl|dryrun; on a server without that command, see that default has all rights: "+allowDefault)
	case len(denied) > 0:
		text := fmt.Sprintf("reads its append-only file as the user default, which may not run %s on every key: a restart drops them from each transaction in the file, "+
			"so locks, fence counters and records are lost or never expire", strings.Join(denied, ", "))
		if f.fsyncAlways {
			text += "; its mark is kept, so it votes at once, and two holders are possible"
		}
		found.add(RunbookMemory, Danger, text, allowDefault+", also in the server's file of users; a program that connects as default needs a user of its own first")
	}
}

// keepsTransactions reports whether the server is known to read its append-only
// file whatever the user default may run.
func (f facts) keepsTransactions() bool {
	return f.name == "valkey" && atLeast(f.version, 9, 1, 2)
}

// deniedDefault returns the commands of replayed that the user default may not
// run. It asks for one first, so that a server that refuses to answer notes
// one refusal.
func (n *Node) deniedDefault(ctx context.Context) (denied []string, err error) {
	for _, commands := range [][][]any{replayed[:1], replayed[1:]} {
		replies := make([]*redis.Cmd, len(commands))
		_, _ = n.client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, c := range commands {
				replies[i] = p.Do(ctx, append([]any{"acl", "dryrun", "default"}, c...)...)
			}
			return nil
		})
		for i, r := range replies {
			said, err := r.Text()
			if err != nil {
				return nil, err
			}
			if name := strings.ToUpper(commands[i][0].(string)); said != "OK" && !slices.Contains(denied, name) {
				denied = append(denied, name)
			}
		}
	}
	return denied, nil
}
