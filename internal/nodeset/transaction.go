package nodeset

import (
	"log/slog"
	"strings"
)

// Transaction is commands that a server executes as one, between MULTI and EXEC,
// to be sent to any number of nodes. They must not be changed. Its reply is those
// of the commands, in order; one that failed is an error among them. If the server
// executes none of them, the error is the reason.
func Transaction(commands ...[]any) Command {
	parts := make([][]any, 0, len(commands)+2)
	parts = append(parts, multi)
	parts = append(parts, commands...)
	return Command{parts: append(parts, exec)}
}

var multi, exec = []any{"multi"}, []any{"exec"}

// Transacts reports whether the server behind the node executes transactions, and
// takes the options of Redis 7.0, as far as is known. On a Redis Cluster it is
// false.
func (n *Node) Transacts() bool { return n.transacts.Load() }

// TransactionRefused processes the error of a transaction that was not
// executed. If the user lacks a right, or the server a command, no more
// transactions are sent there, which is logged once. Other errors pass: memory
// may be short.
func (n *Node) TransactionRefused(err error) {
	if !saidBy(err, "ERR") && !strings.Contains(err.Error(), "NOPERM") {
		return
	}
	n.transacts.Store(false)
	if !n.untransacted.Swap(true) {
		n.c.sayOf(n, slog.LevelWarn, "transactions are refused, so locks are acquired by script, which costs the node more; see cluster.Rights", "error", err)
	}
}

// transacts reports whether a server with these facts takes what Transacts says.
// Programs that are compatible with Redis are not trusted to.
func (f facts) transacts() bool {
	switch f.name {
	case "", "redis", "redict", "redlock-embedded":
		return f.multi && atLeast(f.version, 7, 0)
	case "valkey":
		return f.multi
	}
	return false
}

// Refused reports whether err, an error that a Receiver got, is the server's answer.
// A transaction with such an error was not executed as one.
func Refused(err error) bool { return err != nil && answered(err) }
