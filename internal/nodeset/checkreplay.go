package nodeset

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// allowDefault gives the user default all rights, and lets nobody be this user.
const allowDefault = "ACL SETUSER default reset off ~* &* +@all"

// checkReplay looks whether a restart drops transactions from the append-only file.
func (n *Node) checkReplay(ctx context.Context, found *nodeFindings, f facts) {
	if !f.aof || f.keepsTransactions() {
		return
	}
	var replies []*redis.Cmd
	_, _ = n.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		replies = replayQuestions(ctx, p)
		return nil
	})
	switch denied, err := replayDenied(replies); {
	case err != nil && !answered(err):
		found.add(RunbookDown, Note, "did not report in time what its user default may run, so it is unknown whether a restart drops locks from its append-only file: "+err.Error(),
			"run redlock doctor again")
	case err != nil:
		found.add(RunbookRights, Note, "does not report what its user default may run (ACL DRYRUN: "+err.Error()+"), so it is unknown whether a restart drops locks from its append-only file; after one, it does not vote until a quarantine is over",
			"allow it to this user: +acl|dryrun; a server without that command must be upgraded to Redis 7.0 or later, or to Valkey")
	case len(denied) > 0:
		found.add(RunbookMemory, Danger, fmt.Sprintf("reads its append-only file as the user default, which may not run %s on every key: a restart drops them from each transaction in the file, "+
			"so locks, fence counters and records are lost or never expire; after a restart, it does not vote until a quarantine is over", strings.Join(denied, ", ")),
			allowDefault+", also in the server's file of users; a program that connects as default needs a user of its own first")
	}
}
