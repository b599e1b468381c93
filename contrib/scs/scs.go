// Package scs keeps the sessions of github.com/alexedwards/scs/v2 on a set of Redis nodes, with what package session
// promises: they survive the loss of nodes, and none comes back after it was destroyed.
//
//	store, err := session.New(c, session.Config{Lifetime: manager.Lifetime})
//	manager.Store = scs.New(store)
//
// scs writes each session as one blob, so of two requests that change one session at the same time the one that ends last
// counts, as with any store of scs; use package session where that matters. A request that changes a session which
// another one has destroyed meanwhile ends in the manager's ErrorFunc with session.ErrSessionGone, and one that finds too
// few nodes with session.ErrNoQuorum. Folder login is a server that answers them well.
package scs

import (
	"context"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/venta-hq/redlock/session"
)

// Store is a store for scs.SessionManager. All methods may be called concurrently.
type Store struct{ s *session.Store }

var (
	_ scs.CtxStore         = (*Store)(nil)
	_ scs.IterableCtxStore = (*Store)(nil)
	_ scs.IterableStore    = (*Store)(nil)
)

// owner is whose sessions those of scs are: scs itself knows no users.
const owner = "scs"

// New makes a store. s serves one manager. Its Config.Lifetime is the longest that a session lives from when it was first
// committed: at least the manager's Lifetime, and as much as SetDeadline ever asks for ("remember me"). A later deadline is
// refused with an error that matches cluster.ErrConfig; RenewToken begins anew.
//
// A token is what scs makes, 256 random bits in base64url without padding (43 characters), with HashTokenInStore or without. Of
// another form, the empty one among them, none is ever found, and committing it is an error that matches cluster.ErrConfig.
func New(s *session.Store) *Store { return &Store{s} }

// FindCtx implements scs.CtxStore. What was made up for a token is not found, and a key of AllCtx neither.
func (st *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	return st.s.Fetch(ctx, token)
}

// CommitCtx implements scs.CtxStore. The error matches session.ErrSessionGone if the session was destroyed, or has ended, and
// cluster.ErrConfig if the token has another form or expiry is too late; see New.
func (st *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	return st.s.Put(ctx, token, owner, b, expiry)
}

// DeleteCtx implements scs.CtxStore.
func (st *Store) DeleteCtx(ctx context.Context, token string) error { return st.s.Destroy(ctx, token) }

// AllCtx implements scs.IterableCtxStore. The nodes do not know tokens: its keys are names by which sessions can be committed
// and deleted, as scs.SessionManager.Iterate does, and not found.
func (st *Store) AllCtx(ctx context.Context) (map[string][]byte, error) {
	return st.s.FetchAll(ctx, owner)
}

// Find is FindCtx without a context.
func (st *Store) Find(token string) ([]byte, bool, error) {
	return st.FindCtx(context.Background(), token)
}

// Commit is CommitCtx without a context.
func (st *Store) Commit(token string, b []byte, expiry time.Time) error {
	return st.CommitCtx(context.Background(), token, b, expiry)
}

// Delete is DeleteCtx without a context.
func (st *Store) Delete(token string) error { return st.DeleteCtx(context.Background(), token) }

// All is AllCtx without a context.
func (st *Store) All() (map[string][]byte, error) { return st.AllCtx(context.Background()) }
