package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/venta-hq/redlock/session"
)

// cookie carries the session's id. On https, as contrib/scs/login has it, it is also Secure, and called "__Host-session".
const cookie = "session"

func carry(w http.ResponseWriter, ss *session.Session) {
	http.SetCookie(w, &http.Cookie{
		Name: cookie, Value: ss.ID(), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Expires: ss.Deadline(),
	})
}

// session is the one that a request belongs to, nil if none does, or it has ended.
func (s *shop) session(r *http.Request) (*session.Session, error) {
	c, err := r.Cookie(cookie)
	if err != nil {
		return nil, nil
	}
	ss, err := s.sessions.Load(r.Context(), c.Value)
	if errors.Is(err, session.ErrSessionGone) {
		return nil, nil
	}
	return ss, err
}

// begun is session, or a new one for nobody.
func (s *shop) begun(w http.ResponseWriter, r *http.Request) (ss *session.Session, err error) {
	if ss, err = s.session(r); ss != nil || err != nil {
		return ss, err
	}
	if ss, err = s.sessions.Create(r.Context(), "", nil); err == nil {
		carry(w, ss)
	}
	return ss, err
}

// addItem uses Update, so that of two items that are added at the same time, at whatever instances, both are in the cart.
func (s *shop) addItem(w http.ResponseWriter, r *http.Request) {
	ss, err := s.begun(w, r)
	if err == nil {
		err = s.sessions.Update(r.Context(), ss.ID(), func(_ context.Context, ss *session.Session) error {
			cart, _, err := session.Get[[]string](ss, "cart")
			return errors.Join(err, ss.Set("cart", append(cart, r.PathValue("item"))))
		})
	}
	answer(w, "added", err)
}

// login gives the session a new id, so that who made a browser use the old one is not logged in with it. A real shop asks for
// a password.
func (s *shop) login(w http.ResponseWriter, r *http.Request) {
	name, err := s.user(r.Context(), r.PathValue("user"))
	var ss *session.Session
	if err == nil {
		ss, err = s.begun(w, r)
	}
	if err == nil {
		err = ss.Renew(r.Context(), session.As(r.PathValue("user")))
	}
	if err == nil {
		carry(w, ss)
	}
	answer(w, "welcome, "+name, err)
}

func (s *shop) home(w http.ResponseWriter, r *http.Request) {
	ss, err := s.session(r)
	if ss == nil || err != nil {
		answer(w, "you are nobody", err)
		return
	}
	name := "nobody"
	if ss.User() != "" {
		name, err = s.user(r.Context(), ss.User())
	}
	cart, _, cerr := session.Get[[]string](ss, "cart")
	answer(w, fmt.Sprintf("you are %s, cart: %s", name, strings.Join(cart, ", ")), errors.Join(err, cerr))
}

// logout ends the session for good: no node brings it back.
func (s *shop) logout(w http.ResponseWriter, r *http.Request) {
	ss, err := s.session(r)
	if ss != nil {
		err = ss.Destroy(r.Context())
	}
	if err == nil {
		http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1})
	}
	answer(w, "goodbye", err)
}
