// Package web shows the locks in a browser, for the person on call: holders,
// waiters, the state of the nodes, leaders, and finished jobs.
//
//	h, err := web.Open(ctx, web.Config{Cluster: cluster.Config{URLs: urls}})
//	if err != nil {
//		return err
//	}
//	defer h.Close(ctx)
//	mux.Handle("/redlock/", http.StripPrefix("/redlock", h))
//
// The command redlock web serves the same pages. Every reader of them sees the
// keys, labels, hosts and process ids of all locks under the prefix: mount the
// handler behind what protects your other internal pages. Contents of sessions,
// caches and checkpoints are never shown.
//
// # Pages
//
//	./            all locks; ?prefix=order:&older=5m&sort=age&page=2
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
// A page takes no longer than two NodeTimeouts, and a release no longer than
// eight, however few nodes answer. A page shows what the nodes have said so far
// and as of when, names those that do not answer, and says that it is partial if
// something may be missing.
//
// # Release by force
//
// The pages are read-only unless Config.Authorize is set. A release needs a POST
// of the same origin, the key typed once more, the holder that was seen, and a
// reason. It leaves a line in the log and on the page of the lock.
//
// # Load
//
// One survey asks the nodes for all open pages, over connections of the
// handler's own, and only while a page is open. A round takes Config.Every; the
// locks are listed by SCAN, at a rate of at most 500 locks a second, so 10,000
// locks are listed every 20 s. SCAN walks all keys of the nodes, so the more
// there are, the less often it is used: listings take a node less than a tenth
// of the time.
//
// In one round at most 20 locks whose pages are open are inspected one by one.
// A page beyond that shows the last inspection of its lock, or, if there is
// none, what the last listing said.
package web
