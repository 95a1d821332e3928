// Runs once, when the database is made: the user of the pipeline, who may write to its own database only.
// Another user for another purpose belongs here, too.
const secret = (name) => fs.readFileSync(`/run/etl/${name}`, "utf8").trim();

db.getSiblingDB("admin").createUser({
  user: "etl",
  pwd: secret("mongo_password"),
  roles: [{ role: "readWrite", db: "etl" }],
});
