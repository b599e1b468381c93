package session

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// List returns the sessions of a user without their ids, the oldest first. The
// error is a [*cluster.QuorumError], has ctx.Err() in its chain, or matches
// [cluster.ErrConfig].
func (s *Store) List(ctx context.Context, user string) ([]*Session, error) {
	if s == nil {
		return nil, errNil
	}
	if user == "" {
		return nil, configerr.Field("user", "it is empty; sessions of nobody are not listed")
	}
	if err := checkUser(user); err != nil {
		return nil, err
	}
	if err := s.probe(ctx); err != nil {
		return nil, s.wrap("list", user, err)
	}
	var all []*Session
	seen := map[string]bool{}
	for from, most := stamp(0), s.listed(); from != ""; {
		l := &listing{s: s, now: time.Now(), from: from, most: most, found: map[string][]answer{}}
		if err := l.ask(ctx, user); err != nil {
			return nil, err
		}
		some, err := l.sessions(ctx, seen)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if l.next == from { // the whole part ends at one moment
			most *= 2
		}
		from = l.next
	}
	slices.SortFunc(all, func(a, b *Session) int { return strings.Compare(a.rec.born+a.hash, b.rec.born+b.hash) })
	return all, nil
}

// listed returns how many sessions a node is asked for at a time. The node
// serves nothing else in the meantime, and must answer within NodeTimeout.
func (s *Store) listed() int { return max(1, min(maxListed, maxListedBytes/s.cfg.MaxSize)) }

const (
	maxListed      = 100
	maxListedBytes = 8 << 20 // for sessions of the maximum size
)

// listing holds the answers of the nodes to one part of a List.
type listing struct {
	s     *Store
	now   time.Time
	from  string              // the absolute deadline to begin with
	most  int                 // how many sessions each node returns
	nodes []answer            // the answer of each node, without a record
	found map[string][]answer // by session
	next  string              // the absolute deadline up to which all nodes have returned their sessions; "": all of them
}

func (l *listing) ask(ctx context.Context, user string) error {
	s := l.s
	p := s.newQuorumCall(question{
		script: listScript, key: s.cfg.Prefix + "user:" + user, args: []any{user, l.from, l.most}, now: l.now,
	})
	p.take = l.take
	p.enough = func() bool { return l.votes() >= s.c.Quorum() }
	if err := p.run(ctx); err != nil {
		return s.wrap("list", user, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.votes() < s.c.Quorum() && len(l.nodes) < len(s.c.Nodes()) {
		return s.noQuorum("list", user, l.votes(), p.failed)
	}
	return nil
}

// take adds the answer of one node.
func (l *listing) take(r reply) error {
	if r.status != "ok" || len(r.rest) != 3 {
		return errForeign
	}
	all, ok := r.rest[1].([]any)
	last := r.word(2)
	if !ok || len(all)%2 != 0 || last != "" && !l.mayEndAt(last, len(all)/2) {
		return errForeign
	}
	now := time.Now()
	if err := checkEpoch(r.word(0), now); err != nil {
		return err
	}
	a := answer{node: r.node.Index(), memory: r.memory, epoch: r.word(0)}
	if err := l.takeRecords(a, all, now); err != nil {
		return err
	}
	l.nodes = append(l.nodes, a)
	if last != "" && (l.next == "" || last < l.next) {
		l.next = last
	}
	return nil
}

// mayEndAt reports whether a node that returned n sessions may have more from
// last on.
func (l *listing) mayEndAt(last string, n int) bool {
	return isTime(last, timeWidth) && last >= l.from && n >= l.most
}

// takeRecords adds the hashes and records of one node.
func (l *listing) takeRecords(a answer, all []any, now time.Time) error {
	for i := 0; i < len(all); i += 2 {
		hashed, ok := all[i].(string)
		rec, err := parseRecord(all[i+1], a.memory, now, nil)
		if err != nil {
			return err
		}
		if !ok || !valid(hashed) {
			return errForeign
		}
		if rec != nil {
			l.found[hashed] = append(l.found[hashed], answer{a.node, a.memory, a.epoch, rec})
		}
	}
	return nil
}

// votes returns how many nodes vote on a session that no node knows.
func (l *listing) votes() int {
	v := l.s.judge(l.nodes, l.now)
	return v.votes
}

// sessions returns the sessions among those found that exist and are not in
// seen. It loads those on which a quorum does not agree at once.
func (l *listing) sessions(ctx context.Context, seen map[string]bool) ([]*Session, error) {
	var all []*Session
	var open []string
	for hashed, answers := range l.found {
		if l.next != "" {
			answers = slices.DeleteFunc(answers, func(a answer) bool { return a.record.deadline >= l.next })
		}
		if len(answers) == 0 || seen[hashed] {
			continue
		}
		seen[hashed] = true
		v := l.s.judge(answers, l.now)
		have := 0
		for _, a := range answers {
			if v.live != nil && !a.record.gone && !a.lagging(v.live) {
				have++
			}
		}
		switch {
		case have < l.s.c.Quorum() || v.mixed() || v.ended() || v.live.over(stamp(l.now.UnixMicro())):
			open = append(open, hashed)
		default:
			all = append(all, l.s.newSession("", hashed, v.live))
		}
	}
	loaded, err := l.s.readAll(ctx, open)
	return append(all, loaded...), err
}

// readers is how many sessions are loaded at once.
const readers = 64

// readAll loads those of the sessions that exist.
func (s *Store) readAll(ctx context.Context, hashes []string) ([]*Session, error) {
	var (
		mu     sync.Mutex
		all    []*Session
		failed error
		wg     sync.WaitGroup
		slots  = make(chan struct{}, readers)
	)
	for _, hashed := range hashes {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			rec, err := s.read(ctx, "list", hashed, 0)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				all = append(all, s.newSession("", hashed, rec))
			case !isGone(err):
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	return all, nil
}
