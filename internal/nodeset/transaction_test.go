package nodeset

import (
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/test/harness"
)

type receiverFunc func(n *Node, reply any, err error)

func (f receiverFunc) Receive(n *Node, reply any, err error) { f(n, reply, err) }

func TestFacts_TransactionsNeedTheVersionAndTheRight(t *testing.T) {
	for info, want := range map[string]bool{
		"redis_version:7.0.0":  true,
		"redis_version:8.4.0":  true,
		"redis_version:6.2.14": false,
		"redis_version:7.2.4\nserver_name:valkey\nvalkey_version:8.0.1": true,
		"redis_version:7.2.4\nredict_version:7.3.6":                     true,
		"redis_version:7.0.0\nkvrocks_version:2.9.0":                    false,
		"redis_version:7.4.0\ndragonfly_version:df-v1.20":               false,
		"redis_version:7.2.0\nserver_name:another":                      false,
		"": false,
		"redis_version:7.0.0\nserver_name:redlock-embedded": true,
	} {
		f := parseInfo(strings.ReplaceAll(info, "\n", "\r\n"))
		if f.transacts() {
			t.Errorf("%q: without the right", info)
		}
		f.multi = true
		if got := f.transacts(); got != want {
			t.Errorf("%q: %t", info, got)
		}
	}
}

// What is sent before and after a transaction is answered as itself, and so is a transaction of which a command fails.
func TestTransaction_IsAnsweredByItself(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, nodes harness.Set) {
		n := open(t, nodes).Nodes()[0]
		if !n.Transacts() {
			t.Fatal("the node is sent no transactions")
		}
		type answer struct {
			reply any
			err   error
		}
		got := make(chan answer, 5)
		keep := receiverFunc(func(_ *Node, reply any, err error) { got <- answer{reply, err} })
		n.Run(readyScript, []string{"k"}, nil, keep)
		n.Send(Transaction([]any{"incrby", "a", 2}, []any{"set", "b", "x"}, []any{"incrby", "b", 1}, []any{"incrby", "a", 3}), keep)
		n.Send(Transaction([]any{"set", "b"}), keep)
		n.Run(readyScript, []string{"k"}, nil, keep)
		ready := func() {
			t.Helper()
			if a := harness.Receive(t, "an answer", got); a.reply != any(int64(1)) || a.err != nil {
				t.Errorf("a script is answered %v, %v", a.reply, a.err)
			}
		}
		ready()
		a := harness.Receive(t, "the answer to the transaction", got)
		words, _ := a.reply.([]any)
		if a.err != nil || len(words) != 4 || words[0] != any(int64(2)) || words[1] != any("OK") || words[3] != any(int64(5)) {
			t.Errorf("a transaction is answered %v, %v", a.reply, a.err)
		} else if _, failed := words[2].(error); !failed {
			t.Errorf("the command that failed is answered %v", words[2])
		}
		if a := harness.Receive(t, "the answer to the transaction that is wrong", got); !Refused(a.err) || strings.HasPrefix(a.err.Error(), "EXECABORT") {
			t.Errorf("a transaction that is wrong is answered %v, %v; want the reason", a.reply, a.err)
		}
		ready()
	})
}

// serverError is an answer of a server.
type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

// A server without memory may have some later; a right is missing until somebody gives it.
func TestNode_ARefusedTransactionIsTheLast(t *testing.T) {
	t.Parallel()
	n := open(t, harness.Embedded(t, 1)).Nodes()[0]
	for _, err := range []error{serverError("OOM command not allowed"), serverError("EXECABORT because of: OOM")} {
		if n.TransactionRefused(err); !n.Transacts() {
			t.Errorf("after %v no transactions are sent", err)
		}
	}
	if n.TransactionRefused(serverError("EXECABORT because of: NOPERM no right")); n.Transacts() {
		t.Error("without the right transactions are sent")
	}
}
