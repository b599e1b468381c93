// Package scs stores the sessions of github.com/alexedwards/scs/v2 on a set of
// Redis nodes, with the promises of package session: sessions survive the loss
// of nodes, and none returns after it was destroyed.
//
//	store, err := session.New(c, session.Config{Lifetime: manager.Lifetime})
//	manager.Store = scs.New(store)
//
// scs writes each session as one blob. So if two requests change one session at
// the same time, the one that ends last wins, as with every store for scs; use
// package session if that matters. If another request has destroyed the session
// in the meantime, the manager calls its ErrorFunc with
// [session.ErrSessionGone]; if too few nodes answer, with
// [session.ErrNoQuorum]. The folder login contains a server that handles both.
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

// owner is the user of all sessions of scs, which has no users of its own.
const owner = "scs"

// New returns a store for one manager. [session.Config.Lifetime] of s is the
// longest that a session lives after it was first committed. It must be at
// least the manager's Lifetime, and cover every call of SetDeadline ("remember
// me"). A later deadline is refused with an error that matches
// cluster.ErrConfig; RenewToken starts the time again.
//
// A token has the form that scs uses: 256 random bits in base64url without
// padding (43 characters), with or without HashTokenInStore. A token of another
// form, such as an empty one, is never found, and committing it fails with an
// error that matches cluster.ErrConfig.
func New(s *session.Store) *Store { return &Store{s} }

// FindCtx implements scs.CtxStore. It does not find malformed tokens or keys of
// AllCtx; that is no error.
func (st *Store) FindCtx(ctx context.Context, token string) (b []byte, found bool, err error) {
	return st.s.Fetch(ctx, token)
}

// CommitCtx implements scs.CtxStore. The error matches [session.ErrSessionGone]
// if the session was destroyed or has ended, and cluster.ErrConfig if the token
// has another form or expiry is too late; see [New].
func (st *Store) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	return st.s.Put(ctx, token, owner, b, expiry)
}

// DeleteCtx implements scs.CtxStore.
func (st *Store) DeleteCtx(ctx context.Context, token string) error { return st.s.Destroy(ctx, token) }

// AllCtx implements scs.IterableCtxStore. The nodes do not store tokens, so the
// keys are other names of the sessions: they can be committed and deleted, as
// scs.SessionManager.Iterate does, but not found.
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
