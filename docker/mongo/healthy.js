// Succeeds when the one member of the replica set takes writes. On the first call it makes the replica set.
db.auth("root", fs.readFileSync("/run/etl/mongo_root_password", "utf8").trim());
try {
  rs.status();
} catch (error) {
  if (error.codeName !== "NotYetInitialized") throw error;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
for (let left = 100; left > 0 && !db.hello().isWritablePrimary; left--) sleep(100);
if (!db.hello().isWritablePrimary) quit(1);
