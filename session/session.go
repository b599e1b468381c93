package session

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/configerr"
)

// Session is one session as it was loaded, with the changes made since. All
// methods may be called concurrently; a method that asks no node never waits
// for one that does.
type Session struct {
	store *Store
	token int64 // the fencing token under which Update writes; 0: without a token

	mu      sync.Mutex
	id      string
	hash    string
	rec     *record
	changes map[string]string // uncommitted fields, by name: kind and value
	size    int               // of the names and values of the existing fields
	dead    int               // upper bound of the size of the names of deleted fields on the nodes
}

// newSession returns a session that was read or is to be created.
func (s *Store) newSession(id, hashed string, rec *record) *Session {
	ss := &Session{store: s, id: id, hash: hashed}
	ss.adopt(rec)
	return ss
}

// adopt makes rec the record that is known to be on the nodes.
func (ss *Session) adopt(rec *record) {
	ss.rec, ss.size = rec, 0
	_, ss.dead = rec.tombstones()
	for name := range rec.fields {
		ss.size += ss.sizeLocked(name)
	}
	for name := range ss.changes {
		if rec.fields[name] == "" {
			ss.size += ss.sizeLocked(name)
		}
	}
}

// effectiveLocked returns the kind and value of a field, including uncommitted
// changes, or "" if it never existed.
func (ss *Session) effectiveLocked(name string) string {
	if value, changed := ss.changes[name]; changed {
		return value
	}
	if stored := ss.rec.fields[name]; stored != "" {
		return stored[versionWidth:]
	}
	return ""
}

// sizeLocked returns the size of a field in the session.
func (ss *Session) sizeLocked(name string) int {
	if value := ss.effectiveLocked(name); value != "" && value[0] == kindValue {
		return len(name) + len(value) - 1
	}
	return 0
}

// ID returns the id that the client stores, usually in a cookie. Anyone who
// knows it can use the session. It is "" if it is unknown: in a Session from
// [Store.List], or one that was loaded by its old id ([Grace]).
func (ss *Session) ID() string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.id
}

// Handle returns a name of the session for [Store.Destroy] and [Store.Put]. A
// client cannot use it as an id.
func (ss *Session) Handle() string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return handleMark + ss.hash
}

// User returns the user of the session, or "" if it has none.
func (ss *Session) User() string { return ss.record().user }

// Born returns when the session was created or last renewed.
func (ss *Session) Born() time.Time { return moment(ss.record().born) }

// Deadline returns when the session ends even if it is used.
func (ss *Session) Deadline() time.Time { return moment(ss.record().deadline) }

// IdleDeadline returns when the session ends unless it is loaded before.
func (ss *Session) IdleDeadline() time.Time { return moment(ss.record().idle) }

func (ss *Session) record() *record {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.rec
}

// Get returns the value of a field; ok is false if there is none. The error
// matches [ErrDecode].
func Get[T any](ss *Session, name string) (v T, ok bool, err error) {
	data, ok := ss.raw(name)
	if !ok {
		return v, false, nil
	}
	if err := ss.store.cfg.Codec.Unmarshal([]byte(data), &v); err != nil {
		var zero T
		return zero, true, fmt.Errorf("%w: %q as %T: %w", ErrDecode, name, zero, err)
	}
	return v, true, nil
}

// raw returns the encoded value of a field.
func (ss *Session) raw(name string) (string, bool) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	value := ss.effectiveLocked(name)
	if value == "" || value[0] != kindValue {
		return "", false
	}
	return value[1:], true
}

// Set sets a field, which the next Commit writes. It encodes v at once. The
// error matches [cluster.ErrConfig] if v cannot be encoded or makes the session
// larger than [Config.MaxSize].
func (ss *Session) Set(name string, v any) error {
	if err := checkName(name); err != nil {
		return err
	}
	data, err := ss.store.cfg.Codec.Marshal(v)
	if err != nil {
		return configerr.Field("field", "%q: %T does not encode: %v", name, v, err)
	}
	return ss.set(name, data)
}

func (ss *Session) set(name string, data []byte) error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	size := ss.size - ss.sizeLocked(name) + len(name) + len(data)
	if limit := ss.store.cfg.MaxSize; size > limit {
		return configerr.Field("field", "%q of %d bytes makes the session %d bytes large; at most Config.MaxSize, %d; store the data elsewhere and a reference here",
			name, len(data), size, limit)
	}
	ss.changeLocked(name, string(kindValue)+string(data))
	return nil
}

func (ss *Session) changeLocked(name, value string) {
	ss.size -= ss.sizeLocked(name)
	if ss.changes == nil {
		ss.changes = map[string]string{}
	}
	ss.changes[name] = value
	ss.size += ss.sizeLocked(name)
}

// Delete removes a field, which the next Commit writes.
func (ss *Session) Delete(name string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.changeLocked(name, string(kindDeleted))
}

// Commit writes the fields that were set or deleted since the last Commit, and
// no others. Concurrent commits to different fields are all kept; of commits to
// the same field the one that began last wins. Use [Store.Update] for
// read-modify-write. After Commit has returned nil, every Load finds what it
// wrote, or something newer. The error is
//
//	*GoneError             matches ErrSessionGone: the session has ended
//	*cluster.QuorumError   too few nodes answered; the fields may be written, now or later
//	ctx.Err()              in the chain; the fields may be written, now or later
//	cluster.ErrConfig      the names of deleted fields take more than Config.MaxSize
//
// After an error the changes remain for another Commit.
func (ss *Session) Commit(ctx context.Context) error {
	ss.mu.Lock()
	hashed, changes, seen := ss.hash, maps.Clone(ss.changes), ss.rec.newest()
	ss.mu.Unlock()
	if len(changes) == 0 {
		return nil
	}
	if err := ss.dropTombstones(ctx); err != nil {
		return err
	}
	ver, err := ss.store.commit(ctx, hashed, changes, "", seen, ss.token)
	if ss.store.tally(&ss.store.counts.committed, err) != nil {
		return err
	}
	ss.committed(ver, changes)
	return nil
}

// dropTombstones makes the nodes drop tombstones once there may be many, and
// removes the dropped ones from the session.
func (ss *Session) dropTombstones(ctx context.Context) error {
	limit := ss.store.cfg.MaxSize
	ss.mu.Lock()
	hashed, dead := ss.hash, ss.dead
	ss.mu.Unlock()
	if dead <= limit/2 {
		return nil
	}
	var there *record
	for try := 1; try == 1 || dead > limit && try <= maxTries; try++ { // the first try does not wait for every node; later ones do
		var err error
		if there, err = ss.store.readFrom(ctx, "commit to", hashed, 0, try > 1); err != nil {
			return ss.store.tally(&ss.store.counts.committed, err)
		}
		_, dead = there.tombstones()
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.hash != hashed {
		return nil
	}
	rec := *ss.rec
	rec.fields = maps.Clone(rec.fields)
	names, _ := rec.tombstones()
	for _, name := range names {
		if there.fields[name] == "" { // no node has an older value
			delete(rec.fields, name)
		}
	}
	ss.rec, ss.dead = &rec, dead
	if dead > limit {
		return configerr.Field("field", "the names of deleted fields take %d bytes on the nodes, at most Config.MaxSize, %d; they are dropped when "+
			"all nodes answer; until then delete fewer fields, or use the same names again", dead, limit)
	}
	return nil
}

// committed records what was written. Fields that were set in the meantime
// remain to be written.
func (ss *Session) committed(ver version, changes map[string]string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	rec := *ss.rec
	rec.fields = maps.Clone(rec.fields)
	for name, value := range changes {
		rec.fields[name] = ver + value
		if value[0] == kindDeleted {
			ss.dead += len(name)
		}
		if ss.changes[name] == value {
			delete(ss.changes, name)
		}
	}
	ss.rec = &rec
}

// Destroy is [Store.Destroy] for this session.
func (ss *Session) Destroy(ctx context.Context) error {
	ss.mu.Lock()
	hashed := ss.hash
	ss.mu.Unlock()
	return ss.store.tally(&ss.store.counts.destroyed, ss.store.destroy(ctx, hashed))
}
