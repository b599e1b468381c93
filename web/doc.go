// Package web serves pages about locks for people on call: holders, waiters,
// the state of the nodes, leaders, and finished jobs.
//
//	h, err := web.Open(ctx, web.Config{Cluster: cluster.Config{URLs: urls}})
//	if err != nil {
//		return err
//	}
//	defer h.Close(ctx)
//	mux.Handle("/redlock/", http.StripPrefix("/redlock", h))
//
// The command redlock web serves the same pages. Their readers see the keys,
// labels, hosts and process ids of all locks under the prefix, so mount the
// handler behind what protects your other internal pages. The contents of
// sessions, caches and checkpoints are never shown.
//
// # Pages
//
//	./            all locks; ?prefix=order:&older=5m&mode=shared&sort=age&page=2
//	lock?key=…    one lock, node by node, with its queue
//	nodes         the nodes, and what cluster.Cluster.Check finds
//	jobs          elections, jobs of RunOnce, and checkpoints
//	release?key=… by POST only: takes a lock away from its holder
//
// Each is HTML, JSON for "Accept: application/json" or ?format=json, and a
// stream of server-sent events for "Accept: text/event-stream".
//
// # Outages
//
// However few nodes answer, a page takes at most two NodeTimeouts, and a
// release at most eight. A page shows what the nodes last reported, and when;
// it names nodes that do not answer, and says that it is partial if something
// may be missing.
//
// # Release by force
//
// The pages are read-only unless [Config.Authorize] is set. A release needs a
// POST from the same origin, the key typed again, the holder that was shown,
// and a reason. It is recorded in the log and on the page of the lock.
//
// # Load
//
// While any page is open, one survey asks the nodes on behalf of all open
// pages, over the handler's own connections. A round takes [Config.Every]. The
// locks are listed by SCAN, at most 500 a second, so 10,000 locks are listed
// every 20 s. SCAN walks all keys of a node, so it is used less often on nodes
// with many keys: listings take less than a tenth of a node's time.
//
// In each round at most 20 locks whose pages are open are inspected
// individually. Further pages show the last inspection of their lock or, if
// there is none, the last listing.
package web
