package fence_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/venta-hq/redlock/fence"
)

// The client sends the token of the lock under which a request is made. The server refuses requests of late holders.
func ExampleHandler() {
	checks := fence.Checks{Keys: func(r *http.Request) []string { return []string{"order:" + r.PathValue("id")} }}
	write := func(w http.ResponseWriter, r *http.Request) {
		fmt.Println("server: write order", r.PathValue("id"))
	}
	orders := http.NewServeMux()
	orders.Handle("PUT /orders/{id}", checks.Handler(new(fence.Memory), http.HandlerFunc(write)))
	server := httptest.NewServer(orders)
	defer server.Close()

	client := &http.Client{Transport: fence.RoundTripper{}}
	for _, token := range []int64{17, 18, 17} { // those of two holders, the first of which writes once more
		ctx := fence.WithToken(context.Background(), "order:42", token) // or the context of a lock
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, server.URL+"/orders/42", nil)
		if err != nil {
			panic(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			panic(err)
		}
		fmt.Println("client:", resp.Status, fence.StaleResponse(resp) != nil)
		resp.Body.Close()
	}
	// Output:
	// server: write order 42
	// client: 200 OK false
	// server: write order 42
	// client: 200 OK false
	// client: 412 Precondition Failed true
}

// outgoing and incoming are what an interceptor of gRPC sees: metadata.AppendToOutgoingContext, metadata.FromIncomingContext.
type (
	outgoing func(ctx context.Context, name, value string) context.Context
	incoming func(ctx context.Context) map[string][]string
)

// sendTokens is the body of a grpc.UnaryClientInterceptor.
func sendTokens(ctx context.Context, add outgoing, keys []string, invoke func(context.Context) error) error {
	h := http.Header{}
	if err := fence.SetHeader(ctx, h, keys...); err != nil {
		return err
	}
	return invoke(add(ctx, "fencing-token", h.Get(fence.Header)))
}

// checkTokens is the body of a grpc.UnaryServerInterceptor. The error of a stale token goes to the client as codes.FailedPrecondition,
// that of a malformed one as codes.InvalidArgument.
func checkTokens(ctx context.Context, metadata incoming, s fence.Store, handle func(context.Context) error) error {
	tokens, err := fence.ParseTokens(metadata(ctx)["fencing-token"]...)
	if err != nil {
		return err
	}
	for _, t := range tokens {
		if err := s.CheckToken(ctx, t.Key, t.Number); err != nil {
			return err
		}
		ctx = fence.WithToken(ctx, t.Key, t.Number)
	}
	return handle(ctx)
}

// Interceptors of gRPC carry tokens as metadata.
func Example_gRPC() {
	store, sent := new(fence.Memory), map[string][]string{}
	wire := func(ctx context.Context, name, value string) context.Context {
		sent[name] = []string{value}
		return ctx
	}
	server := func(context.Context) error {
		return checkTokens(context.Background(), func(context.Context) map[string][]string { return sent }, store,
			func(context.Context) error { return nil })
	}
	for _, token := range []int64{17, 18, 17} {
		ctx := fence.WithToken(context.Background(), "order:42", token) // or the context of a lock
		fmt.Println(sendTokens(ctx, wire, []string{"order:42"}, server) == nil)
	}
	// Output:
	// true
	// true
	// false
}
