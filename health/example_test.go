package health_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/health"
)

func ExampleHandler() {
	ctx := context.Background()
	nodes, err := embedded.Start(3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)

	mux := http.NewServeMux()
	mux.Handle("GET /readyz", health.Handler(c, 15*time.Second))

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	fmt.Print(answer.Code, " ", answer.Body)
	// Output: 200 ready
}
