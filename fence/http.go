package fence

import (
	"context"
	"net/http"
)

// Header is the name of the HTTP header that carries fencing tokens:
// "key;token", as [Token.String] writes it, and several separated by commas.
const Header = "Fencing-Token"

// SetHeader puts the tokens of these keys into a header, in place of those that
// it has. Without keys it is the token of the innermost lock. The error matches
// [ErrNoToken] if ctx is under no lock on one of them.
func SetHeader(ctx context.Context, h http.Header, keys ...string) error {
	text := ""
	if len(keys) == 0 {
		t, ok := innermost(ctx)
		if !ok {
			return ErrNoToken
		}
		text = t.String()
	}
	for i, key := range keys {
		token, err := tokenOf(ctx, key)
		if err != nil {
			return err
		}
		if i > 0 {
			text += ", "
		}
		text += Token{key, token}.String()
	}
	h.Set(Header, text)
	return nil
}

// RoundTripper is an [http.RoundTripper] that adds the [Header] to requests,
// with tokens of the locks under which their contexts are. A request that has
// the header already is sent as it is.
type RoundTripper struct {
	// Base sends the requests. Default http.DefaultTransport.
	Base http.RoundTripper

	// Keys are the keys whose tokens a request carries. A request is not sent,
	// and its error matches ErrNoToken, if its context is under no lock on one
	// of them. Default nil: the innermost lock of each request, and a request
	// under no lock is sent without. The host that is asked learns the keys,
	// also where a redirect led to it.
	Keys func(*http.Request) []string
}

// RoundTrip implements [http.RoundTripper].
func (t RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if len(r.Header.Values(Header)) > 0 {
		return base.RoundTrip(r)
	}
	var keys []string
	if t.Keys != nil {
		keys = t.Keys(r)
	} else if inner, ok := innermost(r.Context()); ok {
		keys = []string{inner.Key}
	}
	if len(keys) == 0 {
		return base.RoundTrip(r)
	}
	signed := r.Clone(r.Context()) // a RoundTripper must not change the request
	if err := SetHeader(r.Context(), signed.Header, keys...); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // as a RoundTripper must; the request was not sent
		}
		return nil, err
	}
	return base.RoundTrip(signed)
}
