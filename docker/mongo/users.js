// MongoDB's users. No user may do more than its work, and none may drop the database. healthy.js makes those that are
// missing and gives each the password of the secrets. Another user for another purpose belongs here, too.
const USERS = [
  { name: "etl", password: "mongo_password", role: "read" }, // the pipeline, which only reads
  { name: "etl_writer", password: "mongo_writer_password", role: "readWrite" }, // the DAG generate_data
  { name: "analyst", password: "analyst_password", role: "read" }, // people
];
