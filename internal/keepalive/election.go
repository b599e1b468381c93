package keepalive

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
	"github.com/venta-hq/redlock/internal/errs"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
	"github.com/venta-hq/redlock/internal/record"
)

//go:embed scripts/leader.lua
var leaderSource string

//go:embed scripts/announce.lua
var announceSource string

var (
	leaderScript   = nodeset.NewScript("leader", leaderSource)
	announceScript = nodeset.NewScript("announce", announceSource)
)

// Leader is lease.Leader.
type Leader struct {
	Name      string
	Candidate string
	Token     int64
	Since     time.Time
}

// statement is what a leader says of itself, under its token.
type statement struct {
	Candidate string `json:"candidate"`
	Since     int64  `json:"since"` // µs
	Value     string `json:"value"` // of its hold, to tell whether it still is the one
}

func electionKey(name string) string { return "election:" + name }

func (s *Leases) electionChannel(name string) string {
	return "redlock:election:" + s.red.LockKey(electionKey(name))
}

// Campaign is lease.Leases.Campaign.
func (s *Leases) Campaign(ctx context.Context, name, candidate string, opts ...Option) (l *Lease, err error) {
	if s == nil {
		return nil, errNil
	}
	if name == "" || candidate == "" {
		return nil, configerr.Field("Campaign", "the name %q or the candidate %q is empty", name, candidate)
	}
	req := Options(opts)
	if err := req.refuseShared("Campaign", "an election has one leader; leave it out"); err != nil {
		return nil, err
	}
	if req.MinHold > 0 {
		return nil, configerr.Field("MinHold", "%v for a campaign; it must be 0, because a resignation ends the leadership at once", req.MinHold)
	}
	req.Owner = candidate
	req.Parent = context.WithoutCancel(ctx)
	won, lost := s.tel.Campaigns(s.c.Names(), name)
	err = req.Within(ctx, func(ctx context.Context) error {
		return s.persist(ctx, electionKey(name), req, func() (err error) {
			l, err = s.lead(ctx, name, candidate, req)
			return err
		})
	})
	if err != nil {
		lost()
		return nil, err
	}
	if s.tel != nil {
		won()
		context.AfterFunc(l.Context(), lost)
	}
	return l, nil
}

// lead is Campaign but is interrupted where a quorum is missing just after the lease was acquired.
func (s *Leases) lead(ctx context.Context, name, candidate string, req Request) (*Lease, error) {
	l, err := s.reported(ctx, electionKey(name), req)
	if err != nil {
		return nil, err
	}
	l.recordTaken = true
	l.t.hold.SendAfterRelease(s.announcement(name))
	data, err := json.Marshal(statement{candidate, time.Now().UnixMicro(), l.t.hold.Value()})
	if err == nil {
		said := s.keepRecord(l.t, record.Record{Token: l.Token(), Origin: l.Token(), Data: data})
		err = record.Write(ctx, s.c, s.recordOf(l.Key()), said, s.cfg.CheckpointTTL)
	}
	if err := l.orLost(err); err != nil {
		l.abandon(ctx)
		return nil, orInterrupted(errs.Errorf("redlock: campaign %q: %w", name, err))
	}
	s.announce(name)
	return l, nil
}

// announce makes observers look, behind everything that was sent to each node before.
func (s *Leases) announce(name string) {
	cmd := s.announcement(name)
	for _, n := range s.c.Nodes() {
		n.Send(cmd, nil)
	}
}

// announcement makes observers look at the election.
func (s *Leases) announcement(name string) nodeset.Command {
	lock := s.red.LockKey(electionKey(name))
	return announceScript.Command([]string{lock}, s.electionChannel(name))
}

// Leader is lease.Leases.Leader.
func (s *Leases) Leader(ctx context.Context, name string) (leader Leader, ok bool, err error) {
	leader, _, err = s.look(ctx, name)
	return leader, leader.Candidate != "", err
}

// look asks the nodes, and says for how long the answer is valid at most.
func (s *Leases) look(ctx context.Context, name string) (Leader, time.Duration, error) {
	if s == nil {
		return Leader{}, 0, errNil
	}
	if name == "" {
		return Leader{}, 0, configerr.Field("name", "is empty; name an election")
	}
	lock := s.red.LockKey(electionKey(name))
	b := &leaderVotes{nodes: len(s.c.Nodes()), quorum: s.c.Quorum(), votes: map[string]int{}, done: make(chan struct{})}
	for _, n := range s.c.Nodes() {
		n.Run(leaderScript, []string{lock, quorumlock.Companion(lock, "record")}, nil, b)
	}
	select {
	case <-b.done:
	case <-ctx.Done():
		return Leader{}, 0, errs.Errorf("redlock: leader of %q: %w", name, errs.Ended(ctx))
	}
	leader, good, err := b.result(name)
	if good <= 0 {
		good = s.cfg.TTL // the key is free: whoever takes it says so
	}
	return leader, good + settleTime, err
}

// Observe is lease.Leases.Observe.
func (s *Leases) Observe(ctx context.Context, name string) (<-chan Leader, error) {
	if s == nil {
		return nil, errNil
	}
	if name == "" {
		return nil, configerr.Field("name", "is empty; name an election")
	}
	if err := s.err(electionKey(name)); err != nil {
		return nil, err
	}
	changed := make(chan struct{}, 1)
	ctx, end := context.WithCancel(ctx)
	s.c.Watch(ctx, s.electionChannel(name), func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	leaders := make(chan Leader)
	go func() {
		defer end() // of the subscriptions, also where it is Close that ends this
		s.observe(ctx, name, changed, leaders)
	}()
	return leaders, nil
}

func (s *Leases) observe(ctx context.Context, name string, changed <-chan struct{}, leaders chan<- Leader) {
	defer close(leaders)
	var told, latest Leader
	news, first := false, true
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		out := leaders
		if !news {
			out = nil
		}
		select {
		case out <- latest:
			told, news = latest, false
			continue
		case <-timer.C:
		case <-changed:
		case <-s.closing:
			return
		case <-ctx.Done():
			return
		}
		now, good, err := s.look(ctx, name)
		if err != nil {
			timer.Reset(s.c.Config().NodeTimeout)
			continue
		}
		latest = now
		news = first || latest != told
		first = first && !news
		timer.Reset(good)
	}
}

// leaderVotes counts the nodes on which each value holds the key.
type leaderVotes struct {
	nodes, quorum int

	mu      sync.Mutex
	answers int
	votes   map[string]int // by value
	good    time.Duration  // the longest that some node will keep the key
	token   int64          // of the newest statement
	said    string
	failed  []nodeset.NodeError
	done    chan struct{}
}

// Receive implements nodeset.Receiver.
func (b *leaderVotes) Receive(n *nodeset.Node, reply any, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.answers++
	if v, err := readVote(reply, err); err != nil {
		b.failed = append(b.failed, nodeset.NodeError{Node: n.Name(), Err: err})
	} else {
		b.votes[v.value]++
		b.good = max(b.good, v.left)
		if v.token > b.token {
			b.token, b.said = v.token, v.said
		}
	}
	if b.answers == b.nodes {
		close(b.done)
	}
}

// vote is what one node knows.
type vote struct {
	value string        // who has the key; "" if nobody has
	left  time.Duration // until the key expires; negative if it does not, or nobody has it
	token int64         // of the statement; 0 if there is none
	said  string
}

// readVote reads a reply of the leader script. Whatever does not look exactly like one is an error, and does not say that
// nobody leads.
func readVote(reply any, err error) (v vote, _ error) {
	if err != nil {
		return v, err
	}
	words, _ := reply.([]any)
	if len(words) == 4 {
		value, ok1 := words[0].(string)
		left, ok2 := words[1].(int64)
		token, ok3 := words[2].(int64)
		said, ok4 := words[3].(string)
		if ok1 && ok2 && ok3 && ok4 && token >= 0 && token < 1<<53 {
			return vote{value, time.Duration(min(max(left, -1), 1<<40)) * time.Millisecond, token, said}, nil
		}
	}
	return v, fmt.Errorf("unexpected reply (%T)", reply)
}

// result is the leader whom a quorum knows, if that is the one whose statement is the newest.
func (b *leaderVotes) result(name string) (Leader, time.Duration, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.nodes - len(b.failed); got < b.quorum {
		return Leader{}, 0, &nodeset.QuorumError{Op: "leader of", Key: name, Need: b.quorum, Got: got, Nodes: b.failed}
	}
	var said statement
	json.Unmarshal([]byte(b.said), &said)
	for value, votes := range b.votes { // who may have a quorum with those that are silent
		if value != "" && votes < b.quorum && votes+len(b.failed) >= b.quorum {
			return Leader{}, 0, &nodeset.QuorumError{Op: "leader of", Key: name, Need: b.quorum, Got: votes, Nodes: b.failed}
		}
	}
	if said.Value == "" || b.votes[said.Value] < b.quorum {
		return Leader{Name: name}, b.good, nil // nobody, or not settled: somebody is about to say so, or to expire
	}
	return Leader{Name: name, Candidate: said.Candidate, Token: b.token, Since: time.UnixMicro(said.Since)}, b.good, nil
}

// settleTime is how long after a key's expiry an observer looks again, if it has heard nothing.
const settleTime = 100 * time.Millisecond
