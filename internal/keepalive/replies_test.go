package keepalive

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// answer makes a reply to the leader script out of what a fuzzer gives.
func answer(shape uint8, left, token int64, value, said string) (reply any, err error) {
	switch shape % 16 {
	case 0, 1, 2:
		return []any{value, left, token, said}, nil
	case 3:
		return []any{nil, left, token, said}, nil
	case 4:
		return []any{value, nil, token, said}, nil
	case 5:
		return []any{value, left, nil, said}, nil
	case 6:
		return []any{value, left, token, nil}, nil
	case 7:
		return []any{value, left, token}, nil
	case 8:
		return []any{value, left, token, said, said}, nil
	case 9:
		return []any{[]any{value, left, token, said}}, nil
	case 10:
		return nil, nil
	case 11:
		return said, nil
	case 12:
		return []any{value, float64(left), token, said}, nil
	case 13:
		return []any{value, left, token, said}, errors.New(said)
	case 14:
		return []any{said, value, left, token}, nil
	}
	return map[any]any{value: left}, nil
}

// Nobody is said to lead unless a quorum has the value that the newest statement names, and nobody is said not to lead by
// nodes that do not answer the question.
func FuzzElection_HostileRepliesMakeNoLeader(f *testing.F) {
	c := open(f, harness.Embedded(f, 3), 0)
	said, err := json.Marshal(statement{"web-7", 1, "v"})
	if err != nil {
		f.Fatal(err)
	}
	for shape := range uint8(16) {
		for _, n := range []int64{0, 1, -1, -2, 1<<53 - 1, 1 << 53, -1 << 63, 1<<63 - 1} {
			f.Add(shape, shape, n, int64(7), "v", string(said))
			f.Add(shape, uint8(0), int64(1000), n, "v", string(said))
		}
	}
	for _, text := range []string{"", "{", "null", "[]", `{"candidate":1}`, `{"candidate":"x","since":9223372036854775807,"value":"v"}`, `{"value":""}`} {
		f.Add(uint8(0), uint8(0), int64(1000), int64(7), "", text)
	}
	f.Fuzz(func(t *testing.T, one, others uint8, left, token int64, value, said string) {
		b := &leaderVotes{nodes: 3, quorum: 2, votes: map[string]int{}, done: make(chan struct{})}
		valid, votes := 0, map[string]int{}
		for i, n := range c.Nodes() {
			shape := others
			if i == 0 {
				shape = one
			}
			reply, given := answer(shape, left, token, value, said)
			v, err := readVote(reply, given)
			if err == nil {
				valid++
				votes[v.value]++
				if given != nil || v.token < 0 || v.token >= 1<<53 || v.left < -time.Millisecond {
					t.Errorf("readVote(%#v, %v) = %+v", reply, given, v)
				}
			} else if v != (vote{}) {
				t.Errorf("readVote(%#v, %v) = %+v with %v", reply, given, v, err)
			}
			b.Receive(n, reply, given)
		}
		<-b.done
		leader, _, err := b.result("e")
		if (err == nil) != (valid >= 2) {
			t.Errorf("%d nodes answered; %v", valid, err)
		}
		var made statement
		json.Unmarshal([]byte(said), &made)
		if leader.Candidate != "" && (votes[made.Value] < 2 || made.Value == "" || leader.Token != token) {
			t.Errorf("%+v leads by %v", leader, votes)
		}
	})
}

// What comes over the mailbox is anybody's: it notifies somebody or is ignored.
func FuzzWaitQueue_AMessageIsAHintAtMost(f *testing.F) {
	s := lease(f, open(f, harness.Embedded(f, 1), 0), Config{})
	for _, text := range []string{"", "w", "q", "wlock:k", "qlock:k", "xlock:k", "\x00", "w\xff{", "wlock:other"} {
		f.Add(text)
	}
	me := s.queues.Contend("lock:k")
	f.Fuzz(func(t *testing.T, text string) {
		m, ok := quorumlock.ParseMessage(text)
		if ok && string("qw"[map[bool]int{true: 1}[m.Turn]])+m.Lock != text {
			t.Errorf("ParseMessage(%q) = %+v", text, m)
		}
		claimed := mailbox{s.c}.Message(s.c.Nodes()[0], text)
		rung := len(me.Notified) > 0
		if rung {
			<-me.Notified
		}
		if rung != (text == "wlock:k") || claimed != (ok && (!m.Turn || rung)) {
			t.Errorf("%q: rung %t, claimed %t", text, rung, claimed)
		}
	})
}
