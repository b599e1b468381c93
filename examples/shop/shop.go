package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/venta-hq/redlock/cache"
	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

// patience bounds what a request may wait for the nodes.
const patience = 10 * time.Second

// shop is one instance of the service.
type shop struct {
	mux      http.ServeMux
	c        *cluster.Cluster
	locks    *lock.Locker
	users    *cache.Cache[string]
	sessions *session.Store
	db       *database

	// performed is called after a step of an order was done.
	performed func(order, step string)
}

func newShop(ctx context.Context, urls []string, db *database) (s *shop, err error) {
	s = &shop{db: db, performed: func(string, string) {}}
	if s.c, err = cluster.Open(ctx, cluster.Config{URLs: urls, NodeTimeout: time.Second}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close(ctx)
		}
	}()
	if s.locks, err = lock.New(s.c, lock.Config{TTL: 4 * time.Second}); err != nil {
		return nil, err
	}
	if s.users, err = cache.New(s.c, cache.Config[string]{Prefix: "cache:user:"}); err != nil {
		return nil, err
	}
	if s.sessions, err = session.New(s.c, session.Config{Locker: s.locks}); err != nil {
		return nil, err
	}
	s.mux.HandleFunc("GET /user/{id}", s.getUser)
	s.mux.HandleFunc("PUT /user/{id}", s.putUser)
	s.mux.HandleFunc("GET /{$}", s.home)
	s.mux.HandleFunc("POST /cart/{item}", s.addItem)
	s.mux.HandleFunc("POST /login/{user}", s.login)
	s.mux.HandleFunc("POST /logout", s.logout)
	s.mux.HandleFunc("POST /order/{id}", s.processOrder)
	return s, nil
}

func (s *shop) close(ctx context.Context) {
	if s.sessions != nil {
		s.sessions.Close()
	}
	if s.users != nil {
		s.users.Close(ctx)
	}
	if s.locks != nil {
		s.locks.Close(ctx)
	}
	s.c.Close(ctx)
}

// handler also refuses what other sites have a browser send, whatever cookies come with it.
func (s *shop) handler() http.Handler {
	return http.NewCrossOriginProtection().Handler(http.TimeoutHandler(&s.mux, patience, "try again\n"))
}

// user is a user's name, from the cache, or loaded from the database by one caller of all instances.
func (s *shop) user(ctx context.Context, id string) (string, error) {
	return s.users.Fetch(ctx, id, func(ctx context.Context) (string, error) { return s.db.user(ctx, id) })
}

func (s *shop) getUser(w http.ResponseWriter, r *http.Request) {
	name, err := s.user(r.Context(), r.PathValue("id"))
	answer(w, name, err)
}

// putUser changes the database first: a load that reads it after the deletion finds what is new, and one that read it
// before is not stored.
func (s *shop) putUser(w http.ResponseWriter, r *http.Request) {
	name, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if err := s.db.setUser(r.Context(), r.PathValue("id"), string(name)); err != nil {
		answer(w, "", err)
		return
	}
	if err := s.users.Delete(r.Context(), r.PathValue("id")); err != nil {
		http.Error(w, "changed, but the old name may be seen for a while: "+err.Error(), http.StatusAccepted)
		return
	}
	fmt.Fprintln(w, "changed")
}

// processOrder does each step of an order under the lock on it. The database
// refuses the steps of a holder that comes late. When an instance dies halfway,
// its lock expires and another instance goes on.
func (s *shop) processOrder(w http.ResponseWriter, r *http.Request) {
	ss, err := s.session(r)
	if err == nil && (ss == nil || ss.User() == "") {
		http.Error(w, "log in first", http.StatusUnauthorized)
		return
	}
	text, order := "was processed before", r.PathValue("id")
	if err == nil {
		err = s.locks.WithLock(r.Context(), lockOn(order), func(ctx context.Context) error {
			for _, step := range steps {
				done, err := s.db.perform(ctx, order, step)
				if err != nil {
					return err
				}
				if done {
					text = "processed"
					s.performed(order, step)
				}
			}
			return nil
		})
	}
	answer(w, text, err)
}

// answer reports the outcome to a client. Nodes that cannot be reached are no
// reason to log anybody out.
func answer(w http.ResponseWriter, text string, err error) {
	switch {
	case err == nil:
		fmt.Fprintln(w, text)
	case errors.Is(err, cache.ErrNotFound):
		http.Error(w, "no such user", http.StatusNotFound)
	case errors.Is(err, session.ErrSessionGone):
		http.Error(w, "logged out", http.StatusUnauthorized)
	default:
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
