package nodeset

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/marks"
)

// errUnplaced is why a node that has restarted is not marked by a resize: its
// mark may be a copy of another node's, as from a backup.
var errUnplaced = errors.New("has restarted, and its mark has the name of another node, or you list it by another name than the set does; use that name, empty the node if it is a copy of another (FLUSHALL), or start a program that lists it")

// resizeMark is the mark that a resize reckons with for the node of this name,
// of which text is on server s. One without a place is shown with the mark that
// it would be given. One that has restarted is marked as a program marks it that
// meets it first, because there may be none that lists a node which was just
// added, or is about to leave; then write is true.
func resizeMark(name, text string, s server, t trust, random func() string) (m mark, write bool, err error) {
	m, ok := parseMark(text)
	restarted := s.run != "" && m.run != s.run
	if ok && m.final && !restarted {
		return m, false, nil
	}
	next := (&witness{name: name}).connected(text, s, t, random)
	if !ok || !m.final {
		next.record, next.id = record{}, ""
		return next, false, nil
	}
	switch left := !m.record.has(m.id) && !m.was.has(m.id); {
	case left: // it says for ever that it is none of its set
		next.id, next.record, next.was, next.final = m.id, m.record, m.was, true
	case next.id == "":
		return mark{}, false, errUnplaced
	}
	return next, true, nil
}

// marked is the mark of the node and its text, of which the given one was on it.
// It writes the one that it ought to have.
func (n *resizeTarget) marked(ctx context.Context, cn *redis.Conn, text string, f *facts, quarantine time.Duration) (string, mark, error) {
	if err := f.askReplay(ctx, cn, text); err != nil {
		return text, mark{}, err
	}
	for range markTries {
		m, write, err := resizeMark(url.QueryEscape(n.name), text, f.server(), trust{quarantine: quarantine}, rand.Text)
		if err != nil || !write {
			return text, m, err
		}
		next := m.String()
		if text, err = cn.Eval(ctx, swapMark, []string{marks.Key}, text, next).Text(); err != nil {
			return text, mark{}, err
		}
		if text == next {
			return text, m, nil
		}
	}
	return text, mark{}, fmt.Errorf("%s changes all the time", marks.Key)
}
